-- What waiting tasks wait for outside of their workflow, and what workflows tell others: signals, approvals, the outbox.

-- Signals -------------------------------------------------------------------------------------------------------------

-- What was sent to workflows. A signal is kept with its workflow; a wait takes it, once. `taken_by` without `taken_at`: it
-- is kept for that task, whose wait goes on; with it: the commit that ended the wait has taken it.
create table workflow.signals (
    seq             bigint generated always as identity primary key,
    workflow_id     uuid not null,
    name            text not null,
    payload         jsonb,
    sent_by         text,
    key             text,                          -- of idempotency: sent again with it, it is the same signal
    at              timestamptz not null,
    taken_by        bigint,                        -- the task
    taken_at        timestamptz,
    constraint signals_taken check (taken_at is null or taken_by is not null)
) with (fillfactor = 90);
comment on table workflow.signals is 'What was sent to workflows, and which task took it';
create index signals_workflow on workflow.signals (workflow_id, seq);
create index signals_free on workflow.signals (workflow_id, name, seq) where taken_by is null;
create index signals_kept on workflow.signals (taken_by) where taken_by is not null and taken_at is null;
create unique index signals_key on workflow.signals (workflow_id, key) where key is not null;

-- Who waits for which signal, so that a signal finds its waits by key. One that a signal woke to look at it (`matches`: the
-- definition has a condition, and only a worker can tell) keeps its row until it leaves or waits on.
create table workflow.signal_waits (
    task_id         bigint primary key,
    place           bigint generated always as identity,  -- in the line
    workflow_id     uuid not null,
    name            text not null,
    count           integer not null,              -- of signals
    matches         boolean not null,
    after           bigint not null,               -- with `matches`: those up to here were looked at
    woken           boolean not null default false
) with (fillfactor = 80);
comment on table workflow.signal_waits is 'Which tasks wait for which signals';
create index signal_waits_line on workflow.signal_waits (workflow_id, name, place);
create index signal_waits_name on workflow.signal_waits (name, workflow_id);

-- Approvals -----------------------------------------------------------------------------------------------------------

create table workflow.approvals (
    id              uuid primary key,
    workflow_id     uuid not null,
    task_id         bigint not null,
    attempt         integer not null,              -- the one that asked
    prompt          text,
    form_schema     jsonb,
    assignees       text[] not null,
    outcomes        text[] not null,
    status          text not null default 'open',
    created_at      timestamptz not null,
    expires_at      timestamptz,
    outcome         text,
    data            jsonb,
    answered_by     text,
    answered_at     timestamptz,
    closed_at       timestamptz,                   -- however
    constraint approvals_status check (status in ('open', 'answered', 'expired', 'withdrawn')),
    constraint approvals_closed check ((closed_at is null) = (status = 'open')),
    constraint approvals_answered check ((status = 'answered') = (outcome is not null and answered_at is not null))
);
comment on table workflow.approvals is 'Questions to people, and their answers';
create unique index approvals_open on workflow.approvals (task_id) where status = 'open';
create index approvals_task on workflow.approvals (task_id);
create index approvals_workflow on workflow.approvals (workflow_id);
create index approvals_by_status on workflow.approvals (status, id);

-- Outbox --------------------------------------------------------------------------------------------------------------

-- What steps have emitted, written by the commit that ends them; the leader delivers it.
create table workflow.outbox (
    id              uuid primary key,
    seq             bigint generated always as identity,
    workflow_id     uuid not null,                 -- the one that emitted
    task_id         bigint not null,
    name            text not null,
    payload         jsonb,
    kind            text not null,
    target          text,                          -- a workflow id or a URL; null = whoever waits for a signal of that name
    origin          text,                          -- of a URL: scheme and host
    status          text not null default 'pending',
    tries           integer not null default 0,
    created_at      timestamptz not null,
    due_at          timestamptz not null,          -- of the next try; of one that is being made, when it counts as lost
    delivered_at    timestamptz,
    error           text,                          -- of the last try
    cursor          uuid,                          -- of one without target: the last workflow it went to
    receivers       integer,                       -- of one without target: how many there were
    copy_of         uuid,                          -- of one that such a one was split into; it is deleted when delivered
    constraint outbox_kind check (kind in ('signal', 'webhook')),
    constraint outbox_status check (status in ('pending', 'delivered', 'dead'))
) with (fillfactor = 80);
comment on table workflow.outbox is 'What workflows have emitted, and how far its delivery is';
create index outbox_due on workflow.outbox (kind, due_at, seq) where status = 'pending';
create index outbox_workflow on workflow.outbox (workflow_id);
create index outbox_by_status on workflow.outbox (status, id);

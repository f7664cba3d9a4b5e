-- The words of workflow.explain. Pure: everything they say is in the arguments. Those that have many are PL/pgSQL, which makes ready the
-- one that is meant; as one expression all of them would be made ready at each call.

-- A reason as a sentence.
create or replace function workflow.reason_in_words(
    p_reason text, p_since timestamptz, p_until timestamptz, p_details jsonb, p_now timestamptz) returns text
language plpgsql stable parallel safe
set search_path = public, pg_temp
as $$
begin
    case p_reason
        when 'waiting_dependency' then return format(
            'Waits for %s: %s.', workflow.counted((p_details ->> 'open')::bigint, 'step'),
            (select string_agg(format('%s (%s)', d ->> 'step', d ->> 'status'), ', ')
             from jsonb_array_elements(p_details -> 'steps') d)
            || case when (p_details ->> 'open')::bigint > 10
                    then format(' and %s more', (p_details ->> 'open')::bigint - 10) else '' end);
        when 'engine_paused' then return format(
            'The engine was paused %s ago%s, and nothing of this workflow was claimed before%s.',
            workflow.in_words(p_now - p_since), workflow.by_whom_in_words(p_details),
            coalesce('; it resumes by itself in ' || workflow.in_words(p_until - p_now), ''));
        when 'workflow_paused' then return format(
            'The workflow was paused %s ago%s.', workflow.in_words(p_now - p_since), workflow.by_whom_in_words(p_details));
        when 'budget_exceeded' then return format(
            'Paused %s ago, as the budget of workflow %s is used up: %s.', workflow.in_words(p_now - p_since),
            p_details ->> 'workflow_id', workflow.budget_in_words(p_details));
        when 'queued' then return format(
            'Has been in line %s for the concurrency key %s: %s of %s %s%s; %s.',
            workflow.in_words(p_now - p_since), p_details ->> 'key', p_details ->> 'entered', p_details ->> 'limit',
            case p_details ->> 'entered' when '1' then 'runs' else 'run' end,
            coalesce(format(' (%s)', p_details -> 'running' ->> 0), ''),
            case when (p_details ->> 'more_ahead')::boolean then 'at least 1,000 workflows are ahead of it'
                 when p_details ->> 'ahead' = '0' then 'it is next'
                 when p_details ->> 'ahead' = '1' then '1 workflow is ahead of it'
                 else (p_details ->> 'ahead') || ' workflows are ahead of it' end);
        when 'deadlock' then return format(
            'Circular dependency detected: %s. Each of these workflows waits for a lock of the next; this one has waited %s for %s.',
            (select string_agg(c, ' -> ' order by n)
             from jsonb_array_elements_text(p_details -> 'cycle') with ordinality as x(c, n)),
            workflow.in_words(p_now - p_since), p_details ->> 'key');
        when 'lock_held' then return format(
            'Has waited %s for the lock %s, held by %s.', workflow.in_words(p_now - p_since), p_details ->> 'key',
            workflow.holder_in_words(p_details -> 'holders' -> 0, p_now));
        when 'limit_full' then return format(
            'Has waited %s for the limit %s: %s of %s in use, %s needed; longest by %s.',
            workflow.in_words(p_now - p_since), p_details ->> 'key', p_details ->> 'used', p_details ->> 'capacity',
            p_details ->> 'units', workflow.holder_in_words(p_details -> 'holders' -> 0, p_now));
        when 'rate_reached' then return format(
            'Has waited %s for units of the limit %s: %s of %s were spent within %s, %s needed; the first in line gets its own in %s.',
            workflow.in_words(p_now - p_since), p_details ->> 'key', p_details ->> 'spent', p_details -> 'rate' ->> 'units',
            workflow.in_words(make_interval(secs => (p_details -> 'rate' ->> 'seconds')::double precision)),
            p_details ->> 'units', workflow.in_words(p_until - p_now));
        when 'resource_free' then return format(
            'The %s %s is free; the task gets it in its turn, within seconds.', p_details ->> 'kind', p_details ->> 'key');
        when 'no_workers' then return format(
            'No live worker serves any queue%s.', workflow.last_seen_in_words(p_details, p_now));
        when 'no_worker_for_queue' then return format(
            'No live worker serves queue %s%s.', p_details ->> 'queue', workflow.last_seen_in_words(p_details, p_now));
        when 'workers_draining' then return format(
            'Only draining workers serve queue %s (%s%s): they finish what they have and claim nothing.',
            p_details ->> 'queue', workflow.counted((p_details ->> 'draining')::bigint, 'worker'),
            case when p_details ->> 'out_of_memory' > '0'
                 then format('; %s near the memory limit', p_details ->> 'out_of_memory') else '' end);
        when 'no_worker_for_type' then return format(
            'No live worker of queue %s can run type %s; %s.', p_details ->> 'queue', p_details ->> 'type',
            case p_details ->> 'workers' when '1' then 'one worker serves the queue, with other types'
                 else (p_details ->> 'workers') || ' workers serve the queue, with other types' end);
        when 'workers_busy' then return format(
            'All %s of %s serving queue %s are busy; %s ahead of it.',
            workflow.counted((p_details ->> 'slots')::bigint, 'slot'),
            workflow.counted((p_details ->> 'workers')::bigint, 'worker'), p_details ->> 'queue',
            case when (p_details ->> 'more_ahead')::boolean then 'at least 1,000 tasks are'
                 when p_details ->> 'ahead' = '1' then '1 task is'
                 else (p_details ->> 'ahead') || ' tasks are' end);
        when 'claimable' then return format(
            'A worker that serves queue %s has a free slot: it is about to be claimed, pending for %s.%s',
            p_details ->> 'queue', workflow.in_words(p_now - p_since),
            coalesce(format(' That is long: perhaps no worker answers any more. Those that could take it were last heard of %s ago.',
                            workflow.in_words(p_now - (p_details ->> 'overdue_workers_seen_at')::timestamptz)), ''));
        when 'lost_wakeup' then return format(
            'Its job %s is lost, so no worker will see it; the leader mends this when it comes by.', p_details ->> 'job_id');
        when 'scheduled' then return format(
            '%s%s.',
            coalesce(format('Try %s of %s failed (%s: %s); ', p_details ->> 'tries', p_details ->> 'max_attempts',
                            p_details -> 'error' ->> 'type', rtrim(p_details -> 'error' ->> 'message', '.')), ''),
            case when p_until > p_now then 'the next one starts in ' || workflow.in_words(p_until - p_now)
                 else 'the next one has been due for ' || workflow.in_words(p_now - p_until) || ', and starts as soon as a worker looks' end);
        when 'running' then return format(
            'Has run on worker %s for %s, attempt %s; its lease, renewed while it runs, lasts %s more.',
            coalesce(p_details ->> 'worker', 'unknown'), workflow.in_words(p_now - p_since), p_details ->> 'attempt',
            workflow.in_words(p_until - p_now));
        when 'worker_dead' then return format(
            'Ran on worker %s, which was last heard of %s ago; it is taken back when its lease ends, in %s.',
            p_details ->> 'worker', workflow.in_words(p_now - (p_details ->> 'worker_last_seen_at')::timestamptz),
            workflow.in_words(p_until - p_now));
        when 'lease_expired' then return format(
            'Ran on worker %s, whose lease ended %s ago; the leader takes it back at its next sweep.',
            coalesce(p_details ->> 'worker', 'unknown'),
            workflow.in_words(p_now - (p_details ->> 'lease_until')::timestamptz));
        when 'waiting_signal' then return format(
            'Has waited %s for the signal %s%s%s.', workflow.in_words(p_now - p_since), p_details ->> 'name',
            case when p_details ->> 'count' > '1'
                 then format(' (%s of %s have come)', p_details ->> 'received', p_details ->> 'count') else '' end,
            coalesce('; it waits for ' || workflow.in_words(p_until - p_now) || ' more', ''));
        when 'waiting_approval' then return format(
            'Has waited %s for an answer%s%s%s.', workflow.in_words(p_now - p_since),
            coalesce(' of ' || (select string_agg(a, ', ') from jsonb_array_elements_text(p_details -> 'assignees') a), ''),
            coalesce(format(' to "%s"', p_details ->> 'prompt'), ''),
            coalesce('; it waits for ' || workflow.in_words(p_until - p_now) || ' more', ''));
        when 'waiting_until' then return case
            when p_until > p_now then format(
                'Waits until %s, for %s more.', workflow.rfc3339(p_until), workflow.in_words(p_until - p_now))
            else format('The time that it waited for came %s ago; it goes on as soon as a worker looks.',
                        workflow.in_words(p_now - p_until)) end;
        when 'waiting_child' then return format(
            'Has waited %s for the workflow %s (%s), which is %s%s.', workflow.in_words(p_now - p_since),
            p_details ->> 'workflow_id', p_details ->> 'name', p_details ->> 'status',
            coalesce('; it waits for ' || workflow.in_words(p_until - p_now) || ' more', ''));
        when 'waiting' then return format('Has waited %s for steps inside of it.', workflow.in_words(p_now - p_since));
        else return null;
    end case;
end
$$;
comment on function workflow.reason_in_words is 'Internal: a reason of workflow.explain as a sentence';

-- The command that helps: of the API or of the runbook, with real ids, to be typed as it stands.
create or replace function workflow.helping_command(p_reason text, p_workflow_id uuid, p_task_id bigint, p_details jsonb)
    returns text
language plpgsql immutable parallel safe
set search_path = public, pg_temp
as $$
begin
    case p_reason
        when 'waiting_dependency' then return workflow.curl('GET', format('workflows/%s/dag', p_workflow_id));
        when 'engine_paused' then return workflow.curl('POST', 'resume');
        when 'workflow_paused' then return workflow.curl('POST', format('workflows/%s/resume', p_workflow_id));
        when 'budget_exceeded' then return format(
            '%s -H "Content-Type: application/json" -d ''%s''',
            workflow.curl('POST', format('workflows/%s/budget', p_details ->> 'workflow_id')),
            jsonb_build_object(p_details ->> 'bound', jsonb_build_object('hard', 2 * (p_details ->> 'hard')::numeric)));
        when 'queued' then return workflow.curl('GET', 'workflows/' || coalesce(p_details -> 'running' ->> 0, p_workflow_id::text));
        when 'deadlock' then return workflow.curl('POST', format(  -- the youngest; ids grow with time
            'workflows/%s/cancel', (select max(c) from jsonb_array_elements_text(p_details -> 'cycle') c)));
        when 'lock_held' then return workflow.curl(
            'GET', format('workflows/%s/why', p_details -> 'holders' -> 0 ->> 'workflow_id'));
        when 'limit_full' then return workflow.curl(
            'GET', format('workflows/%s/why', p_details -> 'holders' -> 0 ->> 'workflow_id'));
        when 'rate_reached' then return workflow.curl('GET', 'locks');
        when 'no_workers' then return 'kubectl rollout restart deployment/workflow-workers -n agents';
        when 'no_worker_for_queue' then return format(
            'kubectl set env deployment/workflow-workers -n agents WORKFLOW_QUEUES=%s',
            (select string_agg(q, ',' order by q) from (
                select jsonb_array_elements_text(p_details -> 'served_queues') union select p_details ->> 'queue') x(q)));
        when 'workers_draining' then return 'kubectl rollout status deployment/workflow-workers -n agents';
        when 'no_worker_for_type' then return workflow.curl('GET', 'workers');
        when 'workers_busy' then return format(
            'kubectl scale deployment/workflow-workers --replicas=%s -n agents',
            greatest(2 * (p_details ->> 'workers')::integer, 2));
        when 'lost_wakeup' then return workflow.curl('POST', 'workflows/recover-orphaned');
        when 'scheduled' then return workflow.curl('POST', format('tasks/%s/retry', p_task_id));
        when 'claimable' then return case when p_details ? 'overdue_workers_seen_at' then workflow.curl('GET', 'workers') end;
        when 'running' then return workflow.curl('GET', format('workflows/%s/trace', p_workflow_id));
        when 'worker_dead' then return workflow.curl('GET', 'workers/dead');
        when 'lease_expired' then return workflow.curl('POST', 'workflows/recover-orphaned');
        when 'waiting_signal' then return workflow.curl(
            'POST', format('workflows/%s/signal/%s', p_workflow_id, p_details ->> 'name'));
        when 'waiting_approval' then return workflow.curl('GET', format('approvals/%s', p_details ->> 'approval_id'));
        when 'waiting_until' then return workflow.curl('POST', format('tasks/%s/skip', p_task_id));
        when 'waiting_child' then return workflow.curl('GET', format('workflows/%s/why', p_details ->> 'workflow_id'));
        when 'waiting' then return workflow.curl('GET', format('workflows/%s/tasks', p_workflow_id));
        else return null;
    end case;
end
$$;
comment on function workflow.helping_command is 'Internal: the command that helps with a reason of workflow.explain';

-- Who paused it, and why: ' by ann ("deploy")'.
create or replace function workflow.by_whom_in_words(p_details jsonb) returns text
language sql immutable parallel safe
as $$
    select coalesce(' by ' || (p_details ->> 'by'), '') || coalesce(' ("' || (p_details ->> 'reason') || '")', '')
$$;
comment on function workflow.by_whom_in_words is 'Internal: who paused something, and why';

create or replace function workflow.budget_in_words(p_budget jsonb) returns text
language sql immutable parallel safe
as $$
    select format('%s of %s %s', p_budget ->> 'used', p_budget ->> 'hard', p_budget ->> 'bound')
$$;
comment on function workflow.budget_in_words is 'Internal: how far a budget is used up';

create or replace function workflow.curl(p_method text, p_path text) returns text
language sql immutable parallel safe
as $$
    select format('curl %shttp://localhost:3003/api/v1/%s', case p_method when 'GET' then '' else '-X ' || p_method || ' ' end,
                  p_path)
$$;
comment on function workflow.curl is 'Internal: a request as the runbook writes it';

create or replace function workflow.holder_in_words(p_holder jsonb, p_now timestamptz) returns text
language sql stable parallel safe
as $$
    select format('workflow %s (%s) for %s', p_holder ->> 'workflow_id',
                  format('step %s, ', p_holder ->> 'step')
                  || coalesce('on worker ' || (p_holder ->> 'worker'),
                              case p_holder ->> 'scope' when 'workflow' then 'until the workflow ends' else 'not running' end),
                  workflow.in_words(p_now - (p_holder ->> 'since')::timestamptz))
$$;
comment on function workflow.holder_in_words is 'Internal: who holds a lock';

create or replace function workflow.last_seen_in_words(p_details jsonb, p_now timestamptz) returns text
language sql stable parallel safe
as $$
    select coalesce('; the last one was heard of ' || workflow.in_words(p_now - (p_details ->> 'last_worker_seen_at')::timestamptz) || ' ago',
                    ', and none did within the last day')
$$;
comment on function workflow.last_seen_in_words is 'Internal: how long there has been no worker';

-- "1 task", "2 tasks".
create or replace function workflow.counted(p_count bigint, p_noun text) returns text
language sql immutable parallel safe
as $$
    select p_count || ' ' || p_noun || case p_count when 1 then '' else 's' end
$$;
comment on function workflow.counted is 'Internal: a number of things';

-- A length of time as people say it, in its two largest units: "3 s", "12 min", "2 h 5 min", "4 d 3 h".
create or replace function workflow.in_words(p_time interval) returns text
language sql immutable strict parallel safe
as $$
    select case
        when s < 60 then s || ' s'
        when s < 3600 then s / 60 || ' min' || case when s < 600 and s % 60 > 0 then ' ' || s % 60 || ' s' else '' end
        when s < 86400 then s / 3600 || ' h' || case when s % 3600 >= 60 then ' ' || s % 3600 / 60 || ' min' else '' end
        else s / 86400 || ' d' || case when s % 86400 >= 3600 then ' ' || s % 86400 / 3600 || ' h' else '' end end
    from (select greatest(round(extract(epoch from p_time)), 0)::bigint as s) x
$$;
comment on function workflow.in_words is 'A length of time in words';

create or replace function workflow.rfc3339(p_time timestamptz) returns text
language sql stable parallel safe
as $$
    select to_char(p_time at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
$$;
comment on function workflow.rfc3339 is 'A time in UTC, as the API writes it';

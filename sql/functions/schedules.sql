-- Schedules: definitions that start by themselves. The leader works out when one is due (cron expressions and time zones are
-- Python's matter) and says so here; what follows is one transaction, fenced by the due time that is expected next. So each
-- due time is answered once, however many leaders there are.
--
-- In force is the schedule of the version with which new workflows of the definition start: the pinned one, else the latest.

-- Brings the schedule of a definition in line with the version in force; called wherever that may change. What stays the same
-- keeps its next due time and its pause.
create or replace function workflow.sync_schedules(p_name text) returns void
language plpgsql volatile
set search_path = public, pg_temp
as $$
declare
    v_wanted    jsonb;
    v_paused_at timestamptz := (select max(s.paused_at) from workflow.schedules s where s.name = p_name);
begin
    select v.schedule into v_wanted
    from workflow.definitions d
    join workflow.definition_versions v on v.name = d.name and v.version = coalesce(d.pinned_version, d.latest_version)
    where d.name = p_name and d.disabled_at is null;
    delete from workflow.schedules s where s.name = p_name and s.position >= coalesce(jsonb_array_length(v_wanted), 0);
    insert into workflow.schedules as s (name, position, cron, timezone, overlap, catchup, input, since, paused_at)
    select p_name, e.position - 1, e.entry ->> 'cron', coalesce(e.entry ->> 'timezone', 'UTC'), coalesce(e.entry ->> 'overlap', 'skip'),
           coalesce(e.entry ->> 'catchup', 'latest'), nullif(e.entry -> 'input', 'null'), workflow.clock(), v_paused_at
    from jsonb_array_elements(v_wanted) with ordinality as e(entry, position)
    on conflict (name, position) do update set
        cron = excluded.cron, timezone = excluded.timezone, overlap = excluded.overlap, catchup = excluded.catchup,
        input = excluded.input,
        since = case when (s.cron, s.timezone) = (excluded.cron, excluded.timezone) then s.since else excluded.since end,
        next_at = case when (s.cron, s.timezone) = (excluded.cron, excluded.timezone) then s.next_at end
    where (s.cron, s.timezone, s.overlap, s.catchup, s.input)
          is distinct from (excluded.cron, excluded.timezone, excluded.overlap, excluded.catchup, excluded.input);
end
$$;
comment on function workflow.sync_schedules is 'Internal: bring the schedule of a definition in line with its version in force';

-- Schedules that are due, or whose next due time has to be worked out: {"now", "schedules": [{"name", "position", "cron",
-- "timezone", "overlap", "catchup", "since", "next_at"}]}, the longest due first.
create or replace function workflow.due_schedules(p_limit integer default 100) returns jsonb
language plpgsql stable
set search_path = public, pg_temp
as $$
declare
    v_now timestamptz := workflow.clock();
begin
    return jsonb_build_object('now', v_now, 'schedules', (
        select coalesce(jsonb_agg(to_jsonb(x)), '[]')
        from (select s.name, s.position, s.cron, s.timezone, s.overlap, s.catchup, s.since, s.next_at
              from workflow.schedules s
              where s.paused_at is null and (s.next_at is null or s.next_at <= v_now)
              order by s.next_at nulls first, s.name, s.position limit p_limit) x));
end
$$;
comment on function workflow.due_schedules is 'Schedules that are due, or whose next due time has to be worked out';

-- Answers a due time of a schedule: starts workflows for p_times, which are due, and waits for p_next from then on.
--
-- p_expected  the next due time as it was read; null = not worked out yet.
-- p_cron, p_timezone  by which the times were worked out.
-- p_missed    how many due times are passed over, as the schedule says what to do about an outage.
--
-- Returns {"answered": bool, "started": [ids], "skipped": count, "failed": count, "error"?}; not answered when somebody else
-- did, or the schedule has changed. A start that is refused is noted in last_error, and is not tried again.
-- Errors: WF503 the engine is paused; nothing was changed.
create or replace function workflow.answer_schedule(
    p_name text, p_position integer, p_cron text, p_timezone text, p_expected timestamptz, p_times timestamptz[],
    p_next timestamptz, p_missed integer default 0) returns jsonb
language plpgsql volatile
set search_path = public, pg_temp
as $$
declare
    v_schedule  workflow.schedules;
    v_time      timestamptz;
    v_start     jsonb;
    v_started   jsonb := '[]';
    v_skipped   integer := 0;
    v_failed    integer := 0;
    v_error     text;
begin
    select * into v_schedule from workflow.schedules s
    where s.name = p_name and s.position = p_position and s.cron = p_cron and s.timezone = p_timezone
      and s.next_at is not distinct from p_expected and s.paused_at is null
    for update;
    if not found then
        return '{"answered": false, "started": [], "skipped": 0, "failed": 0}';
    end if;
    foreach v_time in array p_times loop
        if v_schedule.overlap = 'skip' and exists (
            select 1 from workflow.places p where p.key = workflow.schedule_key(p_name)) then
            v_skipped := v_skipped + 1;
            continue;
        end if;
        begin
            v_start := workflow.start_many(jsonb_build_array(
                workflow.scheduled_start(p_name, v_time, v_schedule.input, v_schedule.overlap))) -> 'started' -> 0;
            v_started := v_started || jsonb_build_array(v_start -> 'id');
            v_error := null;
        exception when sqlstate 'WF404' or sqlstate 'WF409' or sqlstate 'WF422' then
            get stacked diagnostics v_error = message_text;
            v_failed := v_failed + 1;
        end;
    end loop;
    update workflow.schedules s set
        next_at = coalesce(p_next, workflow.never()),
        last_at = coalesce(p_times[cardinality(p_times)], s.last_at),
        last_workflow_id = coalesce((v_started ->> -1)::uuid, s.last_workflow_id),
        last_error = case when p_times = '{}' then s.last_error else v_error end,
        started = s.started + jsonb_array_length(v_started),
        skipped = s.skipped + v_skipped,
        missed = s.missed + p_missed
    where s.name = p_name and s.position = p_position;
    return jsonb_build_object(
        'answered', true, 'started', v_started, 'skipped', v_skipped, 'failed', v_failed, 'error', v_error);
end
$$;
comment on function workflow.answer_schedule is 'Start what a schedule is due to start, once for each due time';

-- The concurrency key at which workflows of a schedule have their places. Nobody else can have it: `@` begins no such key of
-- a definition's own making, or shares it knowingly.
create or replace function workflow.schedule_key(p_name text) returns text
language sql immutable parallel safe
as $$
    select '@schedule ' || p_name
$$;
comment on function workflow.schedule_key is 'Internal: the concurrency key of a schedule';

-- A start for a due time, as workflow.start_many takes it. Its key makes it one, also when it is backfilled.
create or replace function workflow.scheduled_start(p_name text, p_time timestamptz, p_input jsonb, p_overlap text) returns jsonb
language sql stable parallel safe
as $$
    select jsonb_build_object(
        'name', p_name, 'input', coalesce(p_input, '{}'), 'once', '@schedule ' || t.at,
        'labels', jsonb_build_object('scheduled_for', t.at))
        || case when p_overlap = 'allow' then '{}'
                else jsonb_build_object('places', jsonb_build_array(jsonb_build_object(
                    'key', workflow.schedule_key(p_name), 'limit', 1,
                    'on_conflict', case p_overlap when 'cancel_running' then 'cancel_running' else 'queue' end))) end
    from (select to_char(p_time at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as at) t
$$;
comment on function workflow.scheduled_start is 'Internal: a start for a due time of a schedule';

-- Starts workflows for due times of the past, all or none: those for which the schedule has started none. Unless workflows of
-- it may overlap they run one after the other.
--
-- p_times      [{"position", "at"}], in order.
-- p_principal  who asks.
--
-- Returns as workflow.start_many, with "scheduled_for".
-- Errors: WF404 no such schedule; those of workflow.start_many.
create or replace function workflow.backfill_schedule(p_name text, p_times jsonb, p_principal text default '') returns jsonb
language plpgsql volatile
set search_path = public, pg_temp
as $$
declare
    v_starts jsonb;
begin
    perform workflow.find_schedule(p_name);
    select coalesce(jsonb_agg(workflow.scheduled_start(
        p_name, t.at, s.input, case s.overlap when 'allow' then 'allow' else 'queue' end) order by t.at, t.position), '[]')
    into v_starts
    from jsonb_to_recordset(p_times) as t(position integer, at timestamptz)
    join workflow.schedules s on s.name = p_name and s.position = t.position;
    return (
        select coalesce(jsonb_agg(a.started || jsonb_build_object('scheduled_for', v_starts -> a.ord::integer - 1 -> 'labels' -> 'scheduled_for')
                                  order by a.ord), '[]')
        from jsonb_array_elements(
            workflow.start_many(v_starts, p_principal => p_principal) -> 'started') with ordinality as a(started, ord));
end
$$;
comment on function workflow.backfill_schedule is 'Start workflows for due times of the past';

-- Starts one workflow of a schedule now, beside its due times. Returns as an item of workflow.start_many.
-- Errors: WF404 no such schedule; those of workflow.start_many.
create or replace function workflow.run_schedule(p_name text, p_principal text default '') returns jsonb
language plpgsql volatile
set search_path = public, pg_temp
as $$
begin
    perform workflow.find_schedule(p_name);
    return workflow.start_many((
        select jsonb_build_array(jsonb_build_object('name', p_name, 'input', coalesce(s.input, '{}')))
        from workflow.schedules s where s.name = p_name and s.position = 0), p_principal => p_principal) -> 'started' -> 0;
end
$$;
comment on function workflow.run_schedule is 'Start one workflow of a schedule now';

-- Stops a schedule until it is resumed. Errors: WF404 no such schedule.
create or replace function workflow.pause_schedule(p_name text) returns void
language plpgsql volatile
set search_path = public, pg_temp
as $$
begin
    perform workflow.find_schedule(p_name);
    update workflow.schedules s set paused_at = workflow.clock() where s.name = p_name and s.paused_at is null;
end
$$;
comment on function workflow.pause_schedule is 'Start nothing more by a schedule until it is resumed';

-- Lets a paused schedule go on. What was due meanwhile is not started; backfill does that. Errors: WF404 no such schedule.
create or replace function workflow.resume_schedule(p_name text) returns void
language plpgsql volatile
set search_path = public, pg_temp
as $$
begin
    perform workflow.find_schedule(p_name);
    update workflow.schedules s set paused_at = null, next_at = null, since = workflow.clock()
    where s.name = p_name and s.paused_at is not null;
end
$$;
comment on function workflow.resume_schedule is 'Let a paused schedule go on';

-- Locks the rows of a schedule. Errors: WF404 no such schedule.
create or replace function workflow.find_schedule(p_name text) returns void
language plpgsql volatile
set search_path = public, pg_temp
as $$
begin
    perform 1 from workflow.schedules s where s.name = p_name order by s.position for update;
    if not found then
        raise exception 'There is no schedule %.', p_name using
            errcode = 'WF404', detail = 'schedule-not-found',
            hint = 'A schedule belongs to a definition of that name: GET /api/v1/schedules lists them.';
    end if;
end
$$;
comment on function workflow.find_schedule is 'Internal: lock the rows of a schedule';

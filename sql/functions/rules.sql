-- When a step runs, given how the steps before it ended: trigger rules, and conditions on dependencies.
--
-- Each dependency that is not merely ordering is counted once when it has ended (workflow.counts_as); how many there are of
-- each kind says what becomes of the step (workflow.verdict). docs/language.md has the table.

-- As what a dependency that ended is counted: 'succeeded', 'failed', 'skipped' or 'unmet'.
--
-- Without a condition it counts as it ended, a tolerated failure as a success. With one: as a success when it ended as the
-- step asks for; else as a failure if it failed without being asked to, else as unmet. The rules that ask for failures
-- (`all_done`, `one_failed`, `all_failed`) count each failure as one, also a tolerated one, and nobody is blamed for it.
--
-- p_condition  {"on"?: [task statuses], "cases"?: [cases of a switch]}: it ended as one of the former (default: succeeded),
--              and if it succeeded, chose one of the latter.
-- p_cases      the cases that it chose: `cases` of its output.
create or replace function workflow.counts_as(
    p_status text, p_tolerated boolean, p_rule jsonb, p_condition jsonb, p_cases jsonb) returns text
language sql immutable parallel safe
as $$
    select case
        when p_condition is null then case
            when p_status in ('succeeded', 'skipped') then p_status
            when p_status = 'failed' and p_tolerated and not a.asks then 'succeeded'
            else 'failed' end
        when coalesce(p_condition -> 'on', '["succeeded"]') ? p_status
             and (p_status <> 'succeeded' or p_condition -> 'cases' is null or exists (
                 select 1 from jsonb_array_elements_text(case when jsonb_typeof(p_cases) = 'array' then p_cases end) c
                 where p_condition -> 'cases' ? c)) then
            case when p_status = 'failed' and a.asks then 'failed' else 'succeeded' end
        when (p_status = 'cancelled' or p_status = 'failed' and not p_tolerated) and not a.asks then 'failed'
        else 'unmet' end
    from (select coalesce(p_rule ->> 'name', 'auto') in ('all_done', 'one_failed', 'all_failed') as asks) a
$$;
comment on function workflow.counts_as is 'Internal: as what a dependency that ended counts';

-- What becomes of a blocked step: 'blocked' (it is not certain yet), 'pending' (it runs), 'failed' (`upstream_failed`) or
-- 'skipped'. One that can no longer run is skipped, or failed if one before it failed without being asked to.
--
-- p_open       dependencies that have not ended and are not merely ordering
-- p_ordering   those that have not ended and only order: they must have, whatever the rule
-- p_total      all that are not merely ordering; so many of those that ended count as:
-- p_succeeded, p_failed, p_unmet; the others as skipped.
--
-- `auto` needs p_open and p_ordering only as a sum: workflows that were begun before skipped dependencies were counted do not
-- know them apart. Without FROM, so that it is planned as part of its caller's statement.
create or replace function workflow.verdict(
    p_rule jsonb, p_open integer, p_ordering integer, p_total integer, p_succeeded integer, p_failed integer,
    p_unmet integer) returns text
language sql immutable parallel safe
as $$
    select case
        when p_ordering > 0 then 'blocked'
        when p_total = 0 then 'pending'
        when p_rule is null then case                                       -- auto
            when p_open + p_ordering > 0 then 'blocked'
            when p_failed > 0 then 'failed'
            when p_unmet > 0 or p_succeeded = 0 then 'skipped'
            else 'pending' end
        else case p_rule ->> 'name'
            when 'always' then 'pending'
            when 'one_success' then case
                when p_succeeded > 0 then 'pending'
                when p_open > 0 then 'blocked'
                when p_failed > 0 then 'failed'
                else 'skipped' end
            when 'min_success' then case
                when p_succeeded >= (p_rule ->> 'min')::integer then 'pending'
                when p_failed > 0 and p_succeeded + p_open < (p_rule ->> 'min')::integer then 'failed'
                when p_open > 0 then 'blocked'
                else 'skipped' end
            when 'one_failed' then case
                when p_failed > 0 then 'pending'
                when p_open > 0 then 'blocked'
                else 'skipped' end
            else case
                when p_open > 0 then 'blocked'
                else case p_rule ->> 'name'
                    when 'all_failed' then case when p_failed = p_total then 'pending' else 'skipped' end
                    when 'all_done' then case when p_unmet = 0 then 'pending' else 'skipped' end
                    when 'none_failed' then case
                        when p_failed > 0 then 'failed' when p_unmet = 0 then 'pending' else 'skipped' end
                    when 'all_success' then case
                        when p_failed > 0 then 'failed' when p_succeeded = p_total then 'pending' else 'skipped' end
                    else case                                               -- auto
                        when p_failed > 0 then 'failed'
                        when p_unmet > 0 or p_succeeded = 0 then 'skipped'
                        else 'pending' end
                    end
                end
            end
        end
$$;
comment on function workflow.verdict is 'Internal: what becomes of a blocked step, given how those before it ended';

-- Whether a step runs as soon as its tasks are there.
create or replace function workflow.runs_at_once(p_rule jsonb, p_dependencies integer[], p_ordering integer[]) returns boolean
language sql immutable parallel safe
as $$
    select p_dependencies = '{}' or p_ordering = '{}' and p_rule ->> 'name' is not distinct from 'always'
$$;
comment on function workflow.runs_at_once is 'Internal: whether a step waits for nothing';

-- Notes which successors of a version's steps cannot end before they have: all, except those whose rule may let them run
-- before, unless they wait for the order's sake. What is open and has no open follower is what a scope counts.
create or replace function workflow.note_followers(p_version_id integer) returns void
language sql volatile
as $$
    update workflow.definition_steps s set followers = array(
        select x from unnest(s.successors) with ordinality as y(x, ord)
        join workflow.definition_steps n on n.version_id = p_version_id and n.step_index = x
        where coalesce(n.rule ->> 'name', 'auto') not in ('one_success', 'one_failed', 'min_success', 'always')
           or s.step_index = any(n.ordering)
        order by ord)
    where s.version_id = p_version_id and exists (
        select 1 from workflow.definition_steps n where n.version_id = p_version_id and n.rule is not null)
$$;
comment on function workflow.note_followers is 'Internal: note which successors of steps cannot end before them';

-- The steps of a scope that no other one ends after: when they have ended, so has the scope.
create or replace function workflow.count_final_steps(p_version_id integer, p_scope integer) returns integer
language sql stable
as $$
    select count(*)::integer from workflow.definition_steps s
    where s.version_id = p_version_id and s.scope = p_scope and s.kind = 'step'
      and coalesce(s.followers, s.successors) = '{}'
$$;
comment on function workflow.count_final_steps is 'Internal: the steps of a scope that no other one ends after';

-- The text of a key that a definition gives as a template, for one start: of its idempotency, or of concurrency. Templates of
-- keys are made of texts and paths only, since they are decided here and not on a worker.
--
-- p_parts  [{"text": ".."} | {"path": ["input", "customer", "id"]}]; a path begins with input, vars, or workflow and labels.
--
-- Errors: WF422 a path leads nowhere or to null, or the key is empty or longer than 500 characters.
create or replace function workflow.render_key(p_parts jsonb, p_input jsonb, p_vars jsonb, p_labels jsonb) returns text
language plpgsql immutable parallel safe
set search_path = public, pg_temp
as $$
declare
    v_from  jsonb := jsonb_build_object(
        'input', p_input, 'vars', p_vars, 'workflow', jsonb_build_object('labels', p_labels));
    v_part  jsonb;
    v_path  text[];
    v_key   text := '';
begin
    for v_part in select p from jsonb_array_elements(p_parts) p loop
        if v_part ? 'text' then
            v_key := v_key || (v_part ->> 'text');
        else
            v_path := array(select x from jsonb_array_elements_text(v_part -> 'path') x);
            if v_from #>> v_path is null then
                raise exception 'The start has no %, which the key of its definition is made of.', array_to_string(v_path, '.') using
                    errcode = 'WF422', detail = 'key-missing', hint = 'Send it with the start.';
            end if;
            v_key := v_key || (v_from #>> v_path);
        end if;
    end loop;
    if length(v_key) not between 1 and 500 then
        raise exception 'The key of the start has % characters; 1 to 500 are possible.', length(v_key) using
            errcode = 'WF422', detail = 'key-missing', hint = 'Make it of something shorter that is unique.';
    end if;
    return v_key;
end
$$;
comment on function workflow.render_key is 'Internal: the key of a start';

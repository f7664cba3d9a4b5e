-- Keys of the API and the audit log, as operators read them.

create or replace view workflow.api_key_list as
select k.id, k.name, k.roles, k.groups, k.created_at, k.expires_at, k.revoked_at, k.last_used_at,
       case when k.revoked_at is not null then 'revoked'
            when k.expires_at <= workflow.clock() then 'expired'
            else 'active' end as status
from workflow.api_keys k;
comment on view workflow.api_key_list is 'Keys of the API';

create or replace view workflow.audit_list as
select a.id, a.at, a.principal, a.key_id, a.address, a.request_id, a.method, a.path, a.operation, a.workflow_id, a.status,
       a.times, a.reason
from workflow.audit a;
comment on view workflow.audit_list is 'What was asked of the API and changed something or was refused';

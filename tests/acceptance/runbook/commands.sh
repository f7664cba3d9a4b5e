# The runbook's commands as operators have them, word for word. Tests take them by their comment and run them on a real
# stack; addresses and placeholders in braces are put in (support/stack.py). Corrections belong into docs/runbook.md.

## Issue 1: Workflow Stuck in Pending State
# Check worker status
curl http://localhost:3003/api/v1/workers
# Check Redis queue depth
redis-cli -h localhost -p 6379 llen "workflow:tasks:pending"
# Check for dead workers
curl http://localhost:3003/api/v1/workers/dead
# Restart workers
kubectl rollout restart deployment/workflow-workers -n agents
# Manually retry stuck workflow
curl -X POST http://localhost:3003/api/v1/workflows/{workflow_id}/retry

## Issue 2: Task Timeout
# Check task execution times
curl http://localhost:3003/api/v1/tasks/stats | jq '.avg_duration'
# Identify slow tasks
curl http://localhost:3003/api/v1/tasks/slow?threshold=60s
# Increase timeout for specific task type
curl -X PATCH http://localhost:3003/api/v1/task-types/llm_inference \
  -H "Content-Type: application/json" \
  -d '{"timeout": 300}'
# Retry timed-out task with extended timeout
curl -X POST http://localhost:3003/api/v1/tasks/{task_id}/retry?timeout=600

## Issue 3: Parallel Execution Deadlock
# Visualize workflow DAG
curl http://localhost:3003/api/v1/workflows/{workflow_id}/dag > dag.json
# Check for locks
redis-cli -h localhost -p 6379 keys "workflow:lock:*"
# Force release locks (use with caution)
redis-cli -h localhost -p 6379 del "workflow:lock:{workflow_id}"
# Cancel deadlocked workflow
curl -X POST http://localhost:3003/api/v1/workflows/{workflow_id}/cancel
# Enable deadlock detection
kubectl set env deployment/workflow-engine -n agents DEADLOCK_DETECTION=true

## Issue 4: Worker Memory Exhaustion
# Check worker memory
kubectl top pods -n agents -l app=workflow-workers
# Reduce concurrency
kubectl set env deployment/workflow-workers -n agents WORKER_CONCURRENCY=2
# Enable memory profiling
kubectl set env deployment/workflow-workers -n agents MEMORY_PROFILER=true
# Restart workers with new limits
kubectl set resources deployment/workflow-workers -n agents \
  --limits=memory=2Gi --requests=memory=512Mi

## Issue 5: Workflow Versioning Conflict
# Check active workflow versions
curl http://localhost:3003/api/v1/workflows/versions
# Clear workflow definition cache
redis-cli -h localhost -p 6379 del "workflow:definitions:*"
# Force reload definitions
curl -X POST http://localhost:3003/api/v1/workflows/reload
# Pin specific version for execution
curl -X POST http://localhost:3003/api/v1/workflows/{workflow_id}/pin?version=2

## Graceful Restart
# 1. Stop accepting new workflows
curl -X POST http://localhost:3003/api/v1/pause
# 2. Wait for running workflows to complete (or timeout after 5min)
timeout 300 bash -c 'while [ $(curl -s http://localhost:3003/api/v1/workflows/running | jq length) -gt 0 ]; do sleep 10; done'
# 3. Rolling restart
kubectl rollout restart deployment/workflow-engine -n agents
kubectl rollout restart deployment/workflow-workers -n agents
# 4. Wait for ready
kubectl rollout status deployment/workflow-engine -n agents
kubectl rollout status deployment/workflow-workers -n agents
# 5. Resume workflow processing
curl -X POST http://localhost:3003/api/v1/resume
# 6. Verify health
curl http://localhost:3003/health

## Emergency Restart
# Force restart (may lose in-progress workflows)
kubectl delete pods -n agents -l app=workflow-engine --force
kubectl delete pods -n agents -l app=workflow-workers --force
# Wait for recovery
kubectl wait --for=condition=ready pod -l app=workflow-engine -n agents --timeout=120s
# Check for orphaned workflows
curl http://localhost:3003/api/v1/workflows/orphaned
# Recover or cancel orphaned workflows
curl -X POST http://localhost:3003/api/v1/workflows/recover-orphaned

## Kubernetes Logs
# Engine logs
kubectl logs -f deployment/workflow-engine -n agents
# Worker logs
kubectl logs -f deployment/workflow-workers -n agents
# All workflow-related logs
kubectl logs -l app.kubernetes.io/component=workflow -n agents --all-containers
# Filter by workflow ID
kubectl logs deployment/workflow-engine -n agents | grep "workflow_id={workflow_id}"

## Local Logs
# Application logs
tail -f /var/log/workflow-engine/app.log
# Celery worker logs
tail -f /var/log/workflow-engine/worker.log
# Task execution logs
tail -f /var/log/workflow-engine/tasks.log

## Workflow Tracing
# Get workflow execution trace
curl http://localhost:3003/api/v1/workflows/{workflow_id}/trace
# Export to JSON for analysis
curl http://localhost:3003/api/v1/workflows/{workflow_id}/trace > trace.json

## Scaling
# Scale workers for more parallel tasks
kubectl scale deployment/workflow-workers --replicas=10 -n agents
# Scale engine for more workflow coordination
kubectl scale deployment/workflow-engine --replicas=3 -n agents

## Workflow Management Commands
# Create Workflow
curl -X POST http://localhost:3003/api/v1/workflows \
  -H "Content-Type: application/json" \
  -d '{
    "name": "data-pipeline",
    "steps": [
      {"id": "fetch", "type": "http", "url": "..."},
      {"id": "process", "type": "agent", "agent": "processor", "depends_on": ["fetch"]},
      {"id": "store", "type": "database", "depends_on": ["process"]}
    ]
  }'
# Cancel Workflow
curl -X POST http://localhost:3003/api/v1/workflows/{workflow_id}/cancel
# Retry Failed Workflow
curl -X POST http://localhost:3003/api/v1/workflows/{workflow_id}/retry

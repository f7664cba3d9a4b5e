"""Stand-ins for the neighbours, so that every kind of step works on a laptop without a network.

Real HTTP servers with made-up, repeatable answers. Only `dev` and `demo` start them, in one process of their own:
`python -m workflow_engine.embedded.standins --agent-mesh 3000 --agent-brain 3001 --llm 3002 --echo 3004`.

server.py        a small JSON-over-HTTP server; each stand-in gives it one function
agent_mesh.py    resolves agents by name
agent_brain.py   executes them
llm.py           a model behind the OpenAI-compatible chat endpoint
echo.py          answers any request with what it was asked
"""

"""Whether what is in `deploy/` and the Dockerfile would be accepted where they are used: `python -m deploy.checks`.

Everything is looked at offline. A check whose tool is missing is told as not checked, never as passed;
`bin/deploy-tools` brings the tools.
"""

"""OpenTelemetry's names for calls of models, agents and tools: the one place for them, as they still change.

After the GenAI conventions in their own repository (open-telemetry/semantic-conventions-genai, 2026). What is said and
answered is not among them: prompts and answers are read in the workflow, by whoever may.
"""

from __future__ import annotations

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
RESPONSE_MODEL = "gen_ai.response.model"
FINISH_REASONS = "gen_ai.response.finish_reasons"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
AGENT_NAME = "gen_ai.agent.name"
TOOL_NAME = "gen_ai.tool.name"
TOOL_TYPE = "gen_ai.tool.type"

CHAT, INVOKE_AGENT, EXECUTE_TOOL = "chat", "invoke_agent", "execute_tool"
OPENAI = "openai"  # the provider by its format, as the conventions want it where a compatible endpoint is asked
EXTENSION = "extension"  # the type of a tool that is called on the side of the agent

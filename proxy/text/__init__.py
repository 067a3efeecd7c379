"""Calls by the APIs of text models: those of OpenAI, Anthropic, Ollama and KServe V1."""

"""OTLP: spans as OpenTelemetry exports them, and what they say of language models.

``messages`` reads requests in protobuf, ``json_messages`` those in JSON. ``readings`` says what a
span means, by the conventions of OpenInference, OpenTelemetry GenAI, Langfuse and MLflow.
"""

"""Teaches schemathesis to send recordings: their bytes are the body."""

import schemathesis

schemathesis.serializer.alias(["audio/webm", "audio/wav"], "application/octet-stream")

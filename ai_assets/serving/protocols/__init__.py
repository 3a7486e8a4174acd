"""Standard protocols over the one scoring path: Open Inference Protocol v2, over REST and gRPC."""

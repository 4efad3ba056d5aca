#!/bin/sh
# Install the project and what it is tested with into a new environment.
#
#     scripts/install.sh VENV PYTHON [TORCH_INDEX]
#
# torch and all else are unpacked side by side, each in one process. What else there is stands with
# its versions in requirements.txt, so that nothing has to be searched for. Then pip looks at every
# dependency, and brings what a platform needs besides, while the modules that are imported are
# compiled: pip would compile all of them, one after the other.
set -eu
venv=$1 python=$2 index=${3:-}
cd "$(dirname "$0")/.."

# The interpreter's own pip fills the environment; one that has none unpacks the one that it ships.
if "$python" -m pip --python "$python" --version >/dev/null 2>&1; then
  "$python" -m venv --without-pip "$venv"
  with="$python -m pip --python $venv/bin/python"
else
  "$python" -m venv "$venv"
  with="$venv/bin/python -m pip"
fi
flags="--quiet --disable-pip-version-check --no-compile --constraint constraints.txt"

# Compiled modules are kept also where PYTHONDONTWRITEBYTECODE is set.
keep() {
  PYTHONDONTWRITEBYTECODE='' "$@"
}

# What fails in the background fails again, and is said, in a later step.
others() {
  $with install $flags --no-deps --requirement requirements.txt
}

# Looks at every dependency, and makes the command.
whole() {
  "$venv/bin/python" -c "import pip" 2>/dev/null || $with install $flags pip
  keep "$venv/bin/python" -m pip install $flags --no-build-isolation --editable .[test,codec] ||
    keep "$venv/bin/python" -m pip install $flags --editable .[test,codec]
}

others &
$with install $flags ${index:+--index-url "$index"} torch
keep "$venv/bin/python" -W ignore scripts/compile_modules.py torch || true  # without numpy it warns
wait $! || echo "trying the versions that this platform has" >&2

# The package's own modules and kernels need both, but not the command.
export PYTHONWARNINGS=ignore
keep "$venv/bin/python" scripts/compile_modules.py project &
compiling=$!
whole
keep "$venv/bin/python" scripts/compile_modules.py others || true
wait $compiling || true

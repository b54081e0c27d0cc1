#!/usr/bin/env bash
# An environment of its own for DeePMD-kit (2 GB): its TensorFlow does not get along with our torch.
#
#   scripts/deepmd.sh [FOLDER]    # default: .deepmd in the project, where voltaloop looks for it
#
# PYTHON names the interpreter (3.11 to 3.13); what is there already stays as it is.
set -euo pipefail

readonly VERSION=3.2.0
PROJECT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly PROJECT
readonly FOLDER=${1:-$PROJECT/.deepmd} PYTHON=${PYTHON:-python3}

die() {
  printf 'deepmd.sh: %s\n' "$*" >&2
  exit 1
}

if [ -x "$FOLDER/bin/dp" ] && "$FOLDER/bin/dp" --version 2>/dev/null | grep -q "v$VERSION"; then
  echo "DeePMD-kit $VERSION is installed in $FOLDER."
  exit 0
fi
command -v "$PYTHON" >/dev/null || die "there is no interpreter '$PYTHON'. Name one: PYTHON=..."
"$PYTHON" -m venv "$FOLDER" ||
  die "the environment could not be made (on Debian: apt install python3-venv)."
echo "Installing DeePMD-kit $VERSION with TensorFlow into $FOLDER (2 GB, some minutes) ..."
"$FOLDER/bin/python" -m pip --disable-pip-version-check --quiet install \
  --constraint "$PROJECT/requirements/deepmd.txt" "deepmd-kit[cpu]==$VERSION"
"$FOLDER/bin/dp" --version

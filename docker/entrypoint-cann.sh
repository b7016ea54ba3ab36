#!/bin/bash
# Puts CANN and the mounted driver on the library path, then runs voxport with the arguments given.
# ASCEND_SET_ENV names CANN's script where it is elsewhere than in the images.

ascend=/usr/local/Ascend
set_env="${ASCEND_SET_ENV:-}"
if [ -z "$set_env" ]; then
    for candidate in "$ascend/ascend-toolkit/set_env.sh" "$ascend/cann/set_env.sh"; do
        if [ -r "$candidate" ]; then
            set_env="$candidate"
            break
        fi
    done
fi
if [ ! -r "$set_env" ]; then
    echo "error: CANN's set_env.sh is not at ${set_env:-$ascend/ascend-toolkit/set_env.sh}" >&2
    echo "hint: build on an image with CANN, or say where it is: docker run -e ASCEND_SET_ENV=PATH" >&2
    exit 2
fi

# Functions without arguments: what is sourced would take this script's own for its options (ATB's does).
load_cann() {
    # shellcheck disable=SC1090
    . "$set_env"
}
load_atb() {
    # shellcheck disable=SC1091
    . "$ascend/nnal/atb/set_env.sh"
}
load_cann
if [ -r "$ascend/nnal/atb/set_env.sh" ]; then
    load_atb
fi

# The driver comes from the host (docker run -v); its libraries must be found before CANN's stubs of them.
driver="$ascend/driver/lib64"
export LD_LIBRARY_PATH="$driver:$driver/common:$driver/driver${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"

exec voxport "$@"

# shellcheck shell=bash
# The virtual environments of tests and measurements. Sourced by scripts that have set $root, the source tree.
#
# They lie under $VITRINE_TEST_HOME (default ~/.cache/vitrine-tests) and are made again when their requirements change.

home=${VITRINE_TEST_HOME:-$HOME/.cache/vitrine-tests}
python=${PYTHON:-python3}

# environment NAME: a virtual environment with tests/requirements-NAME.txt; its path is in $environment.
environment() {
    local requirements=$root/tests/requirements-$1.txt hash
    hash=$({ "$python" --version; cat "$requirements"; } | sha256sum | cut -c1-16)
    environment=$home/$1-$hash
    [ ! -e "$environment/.complete" ] || return 0
    echo "making $environment" >&2
    rm -rf "$home/$1"-*
    "$python" -m venv "$environment" || { echo "no virtual environment at $environment" >&2; return 1; }
    "$environment/bin/pip" install -q --disable-pip-version-check -r "$requirements" ||
        { echo "pip failed for $requirements" >&2; return 1; }
    touch "$environment/.complete"
}

# glance_environment: the real Glance, as perf/glance-requirements.txt pins it; its path is in $environment. Two minutes
# when it is new: uWSGI is compiled.
glance_environment() {
    local requirements=$root/perf/glance-requirements.txt
    environment=$home/glance
    # The copy of the pins is written last: an environment with the same copy is complete and current.
    ! cmp -s "$requirements" "$environment/requirements.txt" || return 0
    echo "installing Glance in $environment (a few minutes)" >&2
    rm -rf "$environment"
    mkdir -p "$home"
    "$python" -m venv "$environment" &&
        "$environment/bin/pip" install -q --upgrade pip setuptools wheel &&
        "$environment/bin/pip" install -q -r "$requirements" &&
        cp "$requirements" "$environment/requirements.txt" ||
        { echo "Glance could not be installed in $environment" >&2; return 1; }
}

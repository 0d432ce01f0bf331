# Shared by the scripts; source it.

# A headline, so that a long run tells where it is.
headline() {
    printf '\n==> [%s] %s\n' "$(date +%H:%M:%S)" "$*" >&2
}

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# Runs a command as root, if there is a way to.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        sudo -n "$@"
    else
        return 1
    fi
}

need_rust() {
    command -v cargo >/dev/null || fail "cargo is missing: install a Rust toolchain (1.94 or newer) with rustup, then run this again"
    local have want=1.94
    have=$(rustc --version | cut -d' ' -f2)
    if [ "$(printf '%s\n%s\n' "$want" "${have%%-*}" | sort -V | head -1)" != "$want" ]; then
        fail "rustc $have is too old: Tandem needs $want or newer (rustup update)"
    fi
    command -v cc >/dev/null || as_root apt-get install -y -qq gcc libc6-dev >/dev/null ||
        fail "a C compiler is missing: install gcc (SQLite and ring are compiled from C)"
}

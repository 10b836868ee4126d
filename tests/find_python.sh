# Prints the path of a Python that `make setup` can use: 3.11 or newer, with venv and ensurepip.
# Called with a path (make setup PYTHON=...), it judges that one alone. One clear line when there is none.
if [ $# -gt 0 ]; then
    candidates=$*
else
    candidates="python3 python3.14 python3.13 python3.12 python3.11 python"
fi
found=""
for candidate in $candidates; do
    # A name on the PATH may be a launcher that starts nothing: only an answer counts.
    answer=$("$candidate" -c 'import sys
print(sys.executable, ".".join(map(str, sys.version_info[:2])), sys.version_info >= (3, 11))' 2>/dev/null) || continue
    version=${answer% *}
    version=${version##* }
    if [ "${answer##* }" != True ]; then
        [ -n "$found" ] || found="$candidate is Python $version: Python 3.11 or newer is needed. Install it (Debian, \
Ubuntu: python3.11 and python3.11-venv), or say make setup PYTHON=/path/to/python3"
        continue
    fi
    if "$candidate" -c 'import venv, ensurepip' 2>/dev/null; then
        echo "${answer% * *}"
        exit 0
    fi
    found="$candidate is Python $version without venv: install it (Debian, Ubuntu: apt install python$version-venv)"
done
echo "setup: ${found:-no Python is on the PATH ($candidates): install Python 3.11 or newer}" >&2
exit 1

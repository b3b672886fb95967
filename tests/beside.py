"""Let an environment see, after its own, all packages of the one that this runs in: python tests/beside.py FOLDER."""

import subprocess
import sys
import sysconfig
from pathlib import Path


def main(folder: str) -> None:
    """Write the .pth line into the environment in `folder`; lines of that kind in the other one's folder count, too."""
    asked = 'import sysconfig; print(sysconfig.get_path("purelib"))'
    done = subprocess.run([f'{folder}/bin/python', '-c', asked], capture_output=True, text=True, check=True)
    line = f'import site; site.addsitedir({sysconfig.get_path("purelib")!r})\n'
    Path(done.stdout.strip(), 'beside.pth').write_text(line)


if __name__ == '__main__':
    main(*sys.argv[1:])

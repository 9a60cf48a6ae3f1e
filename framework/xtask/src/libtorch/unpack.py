"""Takes members out of wheels: unpack.py INTO PREFIX:PREFIX... WHEEL..."""
import os
import sys
import zipfile

into, prefixes, wheels = sys.argv[1], tuple(sys.argv[2].split(":")), sys.argv[3:]
try:
    for wheel in wheels:
        print("  unpacking", os.path.basename(wheel), flush=True)
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(into, [name for name in archive.namelist() if name.startswith(prefixes)])
except (OSError, zipfile.BadZipFile) as error:
    sys.exit(str(error))

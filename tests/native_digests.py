"""A program: the archives that one build of the native library writes, as digests, every one of them decoded again.

python native_digests.py LIBRARY KERNELS
"""

import hashlib
import sys
from pathlib import Path

from llmzip.native import library

library.PATH = Path(sys.argv[1])
library.PREFERRED = (sys.argv[2],)

import llmzip  # noqa: E402
from llmzip.predictors import load_embedded  # noqa: E402

CORPORA = Path(__file__).parents[1] / "corpora"

found = [one.kernels for one in library.available()]
if found != [sys.argv[2]]:
    sys.exit(f"{sys.argv[2]} does not run here: {found}")
for name in ("nano", "adaptive"):
    for text in ("prose-story.txt", "server.log"):
        data = (CORPORA / text).read_bytes()[:3000]
        for memory, streams, threads in ((False, 1, 1), (True, 3, 2), (True, 16, 2)):
            if name == "adaptive" and not memory:
                continue
            predictor = load_embedded(name, threads=threads)
            archive = llmzip.compress(data, predictor, streams=streams, memory=memory)
            assert llmzip.decompress(archive, predictor) == data
            print(name, text, memory, streams, hashlib.sha256(archive).hexdigest())

"""SSD-ResNet50-FPN with MindSpore. Importing it sets what MindSpore needs to find its own CUDA."""

from src.runtime.uncaught import print_in_one_line

print_in_one_line()  # first, since Ctrl-C may come while the rest is imported

from src.runtime.plugins.cuda_home import use_own_cuda  # noqa: E402
from src.runtime.version import __version__ as __version__  # noqa: E402

use_own_cuda()  # all programs, worker processes and `Detector` import this before MindSpore

"""SSD-ResNet50-FPN with MindSpore. Importing it sets what MindSpore needs to find its own CUDA."""

from src.runtime.plugins.cuda_home import use_own_cuda
from src.runtime.version import __version__ as __version__

use_own_cuda()  # here, since programs, worker processes and `Detector` all come by before MindSpore

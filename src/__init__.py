"""SSD-ResNet50-FPN with MindSpore. Importing it sets what MindSpore needs to find its own CUDA."""

from src.runtime.plugins.cuda_home import use_own_cuda

__version__ = "0.1.0"

use_own_cuda()  # here, since programs, worker processes and `Detector` all come by before MindSpore

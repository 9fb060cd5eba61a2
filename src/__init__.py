"""SSD-ResNet50-FPN with MindSpore. Importing it sets what MindSpore needs to find its own CUDA."""

from src.runtime.plugins.cuda_home import use_own_cuda

use_own_cuda()  # here, since programs, worker processes and `Detector` all come by before MindSpore

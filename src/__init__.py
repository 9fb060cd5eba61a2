"""SSD-ResNet50-FPN with MindSpore. Importing it sets what MindSpore needs to find its own CUDA."""

from src.runtime.ctrl_c import end_without_traceback

end_without_traceback()  # first, since all that follows takes time

from src.runtime.packages import say_what_is_missing  # noqa: E402
from src.runtime.plugins.cuda_home import use_own_cuda  # noqa: E402
from src.runtime.version import __version__ as __version__  # noqa: E402

say_what_is_missing()
use_own_cuda()  # here, since programs, worker processes and `Detector` all come by before MindSpore

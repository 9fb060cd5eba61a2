/* A CUDA 11 with cuDNN 8 that computes nothing: device memory is the host's, every kernel
   "succeeds". Written here is what MindSpore's plugin needs an answer from; the build adds
   every other function that it imports, which returns 0.

   Environment: STUB_CARDS (default 8), STUB_MEMORY_MIB (default 8192). */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

typedef void *Any;

static size_t from_environment(const char *name, size_t otherwise) {
    const char *value = getenv(name);
    return value ? strtoull(value, NULL, 10) : otherwise;
}

static size_t memory(void) { return from_environment("STUB_MEMORY_MIB", 8192) << 20; }

/* --- CUDA's runtime */
enum { NO_DEVICE = 100, OUT_OF_MEMORY = 2 };

int cudaGetDeviceCount(int *count) {
    *count = (int)from_environment("STUB_CARDS", 8);
    return *count ? 0 : NO_DEVICE;
}

/* offsets of fields in CUDA 11's cudaDeviceProp */
enum { TOTAL_MEMORY = 288, SHARED_MEMORY = 296, REGISTERS = 304, WARP = 308, PITCH = 312,
       THREADS_PER_BLOCK = 320, BLOCK_SIZE = 324, GRID_SIZE = 336, CLOCK = 348,
       CONSTANT_MEMORY = 352, MAJOR = 360, MINOR = 364, MULTIPROCESSORS = 388, L2_CACHE = 616,
       THREADS_PER_MULTIPROCESSOR = 624, SHARED_PER_MULTIPROCESSOR = 640,
       REGISTERS_PER_MULTIPROCESSOR = 648, SIZE_OF_PROPERTIES = 728 };

int cudaGetDeviceProperties(char *p, int device) {
    memset(p, 0, SIZE_OF_PROPERTIES);
    strcpy(p, "stub of a V100");
    *(size_t *)(p + TOTAL_MEMORY) = memory();
    *(size_t *)(p + SHARED_MEMORY) = 49152;
    *(int *)(p + REGISTERS) = 65536;
    *(int *)(p + WARP) = 32;
    *(size_t *)(p + PITCH) = 2147483647;
    *(int *)(p + THREADS_PER_BLOCK) = 1024;
    int *block = (int *)(p + BLOCK_SIZE), *grid = (int *)(p + GRID_SIZE);
    block[0] = block[1] = 1024, block[2] = 64;
    grid[0] = 2147483647, grid[1] = grid[2] = 65535;
    *(int *)(p + CLOCK) = 1380000;
    *(size_t *)(p + CONSTANT_MEMORY) = 65536;
    *(int *)(p + MAJOR) = 7;
    *(int *)(p + MINOR) = 0;
    *(int *)(p + MULTIPROCESSORS) = 80;
    *(int *)(p + L2_CACHE) = 6 << 20;
    *(int *)(p + THREADS_PER_MULTIPROCESSOR) = 2048;
    *(size_t *)(p + SHARED_PER_MULTIPROCESSOR) = 98304;
    *(int *)(p + REGISTERS_PER_MULTIPROCESSOR) = 65536;
    return 0;
}

static int allocate(Any *p, size_t size) { return (*p = malloc(size)) ? 0 : OUT_OF_MEMORY; }
int cudaMalloc(Any *p, size_t size) { return allocate(p, size); }
int cudaHostAlloc(Any *p, size_t size, unsigned flags) { return allocate(p, size); }
int cudaFree(Any p) { free(p); return 0; }
int cudaFreeHost(Any p) { free(p); return 0; }
int cudaMemGetInfo(size_t *left, size_t *total) {
    *total = memory(), *left = *total / 4 * 3;
    return 0;
}
int cudaMemcpy(Any to, const void *from, size_t size, int kind) {
    memcpy(to, from, size);
    return 0;
}
int cudaMemcpyAsync(Any to, const void *from, size_t size, int kind, Any stream) {
    memcpy(to, from, size);
    return 0;
}
int cudaMemset(Any p, int value, size_t size) { memset(p, value, size); return 0; }
int cudaMemsetAsync(Any p, int value, size_t size, Any stream) {
    memset(p, value, size);
    return 0;
}
int cudaEventElapsedTime(float *milliseconds, Any start, Any end) {
    *milliseconds = 1;
    return 0;
}
const char *cudaGetErrorString(int error) { return "error of a stub"; }
const char *cudaGetErrorName(int error) { return "stub"; }

/* handles, each of as many bytes as no structure behind it exceeds */
#define HANDLE(name) int name(Any *handle) { *handle = calloc(1, 256); return 0; }
HANDLE(cudaStreamCreate) HANDLE(cudaEventCreate)
HANDLE(cublasCreate_v2) HANDLE(cusolverDnCreate) HANDLE(cusparseCreate)
HANDLE(cudnnCreate) HANDLE(cudnnCreateTensorDescriptor) HANDLE(cudnnCreateFilterDescriptor)
HANDLE(cudnnCreateConvolutionDescriptor) HANDLE(cudnnCreateActivationDescriptor)
HANDLE(cudnnCreatePoolingDescriptor) HANDLE(cudnnCreateReduceTensorDescriptor)
HANDLE(cudnnCreateDropoutDescriptor) HANDLE(cudnnCreateLRNDescriptor)
HANDLE(cudnnCreateOpTensorDescriptor) HANDLE(cudnnCreateRNNDescriptor)
int cudaStreamCreateWithFlags(Any *h, unsigned flags) { return cudaStreamCreate(h); }
int cudaStreamCreateWithPriority(Any *h, unsigned flags, int p) { return cudaStreamCreate(h); }

/* --- the driver */
int cuInit(unsigned flags) { return 0; }
int cuGetErrorName(int error, const char **name) { *name = "stub"; return 0; }
enum { ATTRIBUTE_MULTIPROCESSORS = 16, ATTRIBUTE_MAJOR = 75, ATTRIBUTE_MINOR = 76 };
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == ATTRIBUTE_MAJOR            ? 7
             : attribute == ATTRIBUTE_MINOR          ? 0
             : attribute == ATTRIBUTE_MULTIPROCESSORS ? 80
                                                      : 1024;
    return 0;
}

/* --- cuDNN: sizes of workspaces, and one algorithm for each convolution */
const char *cudnnGetErrorString(int status) { return "status of a stub"; }
enum { WORKSPACE = 1024 };
#define SIZE_AFTER(name, ...) \
    int name(__VA_ARGS__, size_t *size) { *size = WORKSPACE; return 0; }
SIZE_AFTER(cudnnGetTensorSizeInBytes, Any tensor)
SIZE_AFTER(cudnnGetFilterSizeInBytes, Any filter)
SIZE_AFTER(cudnnDropoutGetStatesSize, Any h)
SIZE_AFTER(cudnnGetConvolutionForwardWorkspaceSize, Any h, Any x, Any w, Any c, Any y, int a)
SIZE_AFTER(cudnnGetConvolutionBackwardDataWorkspaceSize, Any h, Any x, Any w, Any c, Any y, int a)
SIZE_AFTER(cudnnGetConvolutionBackwardFilterWorkspaceSize, Any h, Any x, Any w, Any c, Any y, int a)
SIZE_AFTER(cudnnGetBatchNormalizationForwardTrainingExWorkspaceSize, Any h, int mode, int ops,
           Any x, Any z, Any y, Any b, Any a)
SIZE_AFTER(cudnnGetBatchNormalizationBackwardExWorkspaceSize, Any h, int mode, int ops, Any x,
           Any y, Any dy, Any dz, Any dx, Any d, Any a)
SIZE_AFTER(cudnnGetBatchNormalizationTrainingExReserveSpaceSize, Any h, int mode, int ops, Any a,
           Any x)
SIZE_AFTER(cudnnGetReductionIndicesSize, Any h, Any r, Any a, Any c)
SIZE_AFTER(cudnnGetReductionWorkspaceSize, Any h, Any r, Any a, Any c)

struct performance { int algorithm, status; float time; size_t memory; int rest[5]; };
#define ALGORITHM(name, ...) \
    int name(Any h, Any x, Any w, Any c, Any y, int wanted, int *count, struct performance *p) { \
        *count = 1; \
        memset(p, 0, sizeof *p); \
        p->algorithm = 1; \
        return 0; \
    }
ALGORITHM(cudnnGetConvolutionForwardAlgorithm_v7)
ALGORITHM(cudnnGetConvolutionBackwardDataAlgorithm_v7)
ALGORITHM(cudnnGetConvolutionBackwardFilterAlgorithm_v7)
ALGORITHM(cudnnFindConvolutionForwardAlgorithm)
ALGORITHM(cudnnFindConvolutionBackwardDataAlgorithm)
ALGORITHM(cudnnFindConvolutionBackwardFilterAlgorithm)

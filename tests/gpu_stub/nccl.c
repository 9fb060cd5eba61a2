/* An NCCL that sums nothing: what a rank gives is what it gets. */
#include <stdlib.h>
#include <string.h>

typedef struct { char bytes[128]; } Id;
static const size_t BYTES[] = {1, 1, 4, 4, 8, 8, 2, 4, 8, 2}; /* of ncclDataType_t */

int ncclGetUniqueId(Id *id) { memset(id, 7, sizeof *id); return 0; }
int ncclCommInitRank(void **comm, int ranks, Id id, int rank) {
    *comm = calloc(1, 64);
    return 0;
}
int ncclAllReduce(const void *from, void *to, size_t count, int type, int op, void *comm,
                  void *stream) {
    memcpy(to, from, count * BYTES[type]);
    return 0;
}
int ncclAllGather() { return 0; }
int ncclBroadcast() { return 0; }
int ncclReduceScatter() { return 0; }
int ncclCommAbort() { return 0; }
int ncclGroupStart() { return 0; }
int ncclGroupEnd() { return 0; }
int ncclSend() { return 0; }
int ncclRecv() { return 0; }

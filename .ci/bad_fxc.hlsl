// For .ci/fxc: a barrier that only some invocations reach. It must be refused.
RWByteAddressBuffer y : register(u0);
groupshared uint shared_word;

[numthreads(64, 1, 1)]
void main(uint lane : SV_GroupIndex) {
    if (lane < 32u) {
        shared_word = lane;
        GroupMemoryBarrierWithGroupSync();
    }
    y.Store(4 * lane, shared_word);
}

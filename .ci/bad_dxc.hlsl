// For .ci/dxc: an argument of the entry point without a semantic, as naga 30 writes subgroup builtins that
// are members of a struct. It must be refused.
RWByteAddressBuffer y : register(u0);

[numthreads(64, 1, 1)]
void main(uint3 id : SV_GroupID, uint lane) {
    y.Store(4 * (id.x + lane), lane);
}

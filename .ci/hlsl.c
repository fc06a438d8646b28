/* Compiles HLSL texts as wgpu-hal 30 does, with the shader compiler in LIBRARY: Microsoft's DXC (a Linux
 * library or a DLL) or FXC (d3dcompiler_47.dll). `.ci/hlsl-jobs` runs it.
 *
 *     hlsl LIBRARY <jobs     in the folder of the texts; a job is `PROFILE with|without FILE`,
 *                            where with is for native 16-bit types
 *
 * Prints the compiler's version, then per job `OK|REFUSED`, milliseconds and the job between tabs, and
 * after REFUSED what the compiler says, up to a line `.`.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <wchar.h>

#ifdef _WIN32
#include <windows.h>
#define DESTRUCTORS 0
static void *library_open(const char *path) { return (void *)LoadLibraryA(path); }
static void *library_symbol(void *library, const char *name) {
    return (void *)GetProcAddress((HMODULE)library, name);
}
static double now_ms(void) { return (double)GetTickCount64(); }
#else
#include <dlfcn.h>
/* DXC for Linux has a virtual destructor in its IUnknown: two slots of the Itanium C++ ABI. */
#define DESTRUCTORS 2
static void *library_open(const char *path) { return dlopen(path, RTLD_NOW); }
static void *library_symbol(void *library, const char *name) { return dlsym(library, name); }
static double now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}
#endif

/* A COM object. Slots 0, 1 and 2 are QueryInterface, AddRef and Release. */
typedef struct Object { void **methods; } Object;
typedef struct { uint32_t a; uint16_t b, c; uint8_t d[8]; } Guid;
typedef struct { const void *bytes; size_t size; uint32_t encoding; } Buffer;

static void *method(Object *object, int number) { return object->methods[3 + DESTRUCTORS + number]; }
static void release(Object *object) {
    if (object) { ((uint32_t (*)(Object *))object->methods[2])(object); }
}
/* The first two methods of every blob. */
static const void *blob_bytes(Object *blob) { return ((void *(*)(Object *))method(blob, 0))(blob); }
static size_t blob_size(Object *blob) { return ((size_t (*)(Object *))method(blob, 1))(blob); }

static const Guid CLSID_COMPILER = {0x73e22d93, 0xe6ce, 0x47f3, {0xb5, 0xbf, 0xf0, 0x66, 0x4f, 0x39, 0xc1, 0xb0}};
static const Guid IID_COMPILER3 = {0x228b4687, 0x5a6a, 0x4730, {0x90, 0x0c, 0x97, 0x02, 0xb2, 0x20, 0x3f, 0x54}};
static const Guid IID_RESULT = {0x58346cda, 0xdde7, 0x4497, {0x94, 0x61, 0x6f, 0x87, 0xaf, 0x5e, 0x06, 0x59}};
static const Guid IID_BLOB_UTF8 = {0x3da636c9, 0xba71, 0x4024, {0xa3, 0x01, 0x30, 0xcb, 0xf1, 0x25, 0x30, 0x5b}};
static const Guid IID_BLOB = {0x8ba5fb08, 0x5195, 0x40e2, {0xac, 0x58, 0x0d, 0x98, 0x9c, 0x3a, 0x01, 0x02}};
static const Guid IID_VERSION = {0xb04f5b50, 0x2059, 0x4f12, {0xa8, 0xff, 0xa1, 0xe0, 0xcd, 0xe1, 0xcc, 0x7e}};
enum { OUT_OBJECT = 1, OUT_ERRORS = 2, UTF8 = 65001, ENABLE_STRICTNESS = 1 << 11 };

/* What DXC before 1.8 says after each text where Microsoft's signing library is not at hand: it is for
 * Windows only. */
static const char UNSIGNED[] =
    "warning: DXIL.dll not found.  Resulting DXIL will not be signed for use in release environments.";

static Object *output(Object *result, int kind, const Guid *iid) {
    Object *blob = NULL;
    ((int32_t (*)(Object *, int, const Guid *, void **, void **))method(result, 4))(
        result, kind, iid, (void **)&blob, NULL);
    return blob;
}

/* 1: compiled. Else prints why not, into `why`. */
static int compile_dxc(Object *compiler, Buffer text, const char *profile, int has_16_bit_types, char *why, size_t room) {
    wchar_t wide[16];
    mbstowcs(wide, profile, 16);
    const wchar_t *arguments[9] = {L"-E", L"main", L"-T", wide, L"-HV", L"2018", L"-no-warnings", L"-Ges"};
    uint32_t count = 8;
    if (has_16_bit_types) { arguments[count++] = L"-enable-16bit-types"; }
    Object *result = NULL;
    int32_t failed = ((int32_t (*)(Object *, const Buffer *, const wchar_t **, uint32_t, void *, const Guid *, void **))
        method(compiler, 0))(compiler, &text, arguments, count, NULL, &IID_RESULT, (void **)&result);
    if (failed || !result) {
        snprintf(why, room, "Compile returned %x", (unsigned)failed);
        return 0;
    }
    /* As wgpu: whatever it says is an error. */
    Object *errors = output(result, OUT_ERRORS, &IID_BLOB_UTF8);
    Object *code = output(result, OUT_OBJECT, &IID_BLOB);
    const char *said = errors && blob_size(errors) ? blob_bytes(errors) : "";
    if (strncmp(said, UNSIGNED, sizeof UNSIGNED - 1) == 0) { said += sizeof UNSIGNED - 1; }
    said += strspn(said, "\r\n");
    int good = *said == 0 && code && blob_size(code) > 0;
    snprintf(why, room, "%s", *said ? said : "neither code nor an error");
    release(errors);
    release(code);
    release(result);
    return good;
}

typedef int32_t (*D3DCompile)(const void *, size_t, const char *, const void *, void *, const char *, const char *,
                              uint32_t, uint32_t, Object **, Object **);

static int compile_fxc(D3DCompile compile, Buffer text, const char *profile, char *why, size_t room) {
    Object *code = NULL, *errors = NULL;
    int32_t failed = compile(text.bytes, text.size, NULL, NULL, NULL, "main", profile, ENABLE_STRICTNESS, 0, &code, &errors);
    int good = !failed && code && blob_size(code) > 0;
    if (!good) {
        snprintf(why, room, "%x: %.*s", (unsigned)failed, errors ? (int)blob_size(errors) : 0,
                 errors ? (const char *)blob_bytes(errors) : "");
    }
    release(code);
    release(errors);
    return good;
}

static char *read_file(const char *path, size_t *bytes) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END)) { return NULL; }
    long size = ftell(file);
    char *text = malloc((size_t)size + 1);
    rewind(file);
    *bytes = fread(text, 1, (size_t)size, file);
    fclose(file);
    return text;
}

static Object *open_dxc(void *library) {
    typedef int32_t (*Create)(const Guid *, const Guid *, void **);
    Create create = (Create)library_symbol(library, "DxcCreateInstance");
    Object *compiler = NULL, *version = NULL;
    uint32_t major = 1, minor = 0;
    if (!create || create(&CLSID_COMPILER, &IID_COMPILER3, (void **)&compiler)) { return NULL; }
    if (!create(&CLSID_COMPILER, &IID_VERSION, (void **)&version)) {
        ((int32_t (*)(Object *, uint32_t *, uint32_t *))method(version, 0))(version, &major, &minor);
    }
    printf("DXC %u.%u\n", major, minor);
    fflush(stdout);
    return compiler;
}

int main(int argc, char **argv) {
    void *library = argc == 2 ? library_open(argv[1]) : NULL;
    if (!library) {
        fprintf(stderr, "usage: hlsl LIBRARY <jobs; cannot open %s\n", argc == 2 ? argv[1] : "none");
        return 2;
    }
    D3DCompile fxc = (D3DCompile)library_symbol(library, "D3DCompile");
    Object *dxc = fxc ? NULL : open_dxc(library);
    if (fxc) {
        printf("FXC\n");
        fflush(stdout);
    }
    if (!fxc && !dxc) {
        fprintf(stderr, "%s is neither DXC nor FXC\n", argv[1]);
        return 2;
    }
    char profile[16], types[16], file[512];
    static char why[1 << 20];
    while (scanf("%15s %15s %511s", profile, types, file) == 3) {
        Buffer text = {NULL, 0, UTF8};
        text.bytes = read_file(file, &text.size);
        if (!text.bytes) {
            fprintf(stderr, "cannot read %s\n", file);
            return 2;
        }
        double begin_ms = now_ms();
        int good = fxc ? compile_fxc(fxc, text, profile, why, sizeof why)
                       : compile_dxc(dxc, text, profile, strcmp(types, "with") == 0, why, sizeof why);
        printf("%s\t%.0f\t%s %s\n", good ? "OK" : "REFUSED", now_ms() - begin_ms, profile, file);
        if (!good) { printf("%s\n.\n", why); }
        fflush(stdout);
        free((void *)text.bytes);
    }
    return 0;
}

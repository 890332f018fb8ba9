#include "native.h"

#include <array>
#include <cstddef>
#include <cstring>
#include <exception>
#include <memory>
#include <utility>
#include <vector>

#include <dlfcn.h>

#include <ATen/ATen.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/StreamGuard.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/version.h>

using torch::inductor::AOTIModelPackageLoader;

namespace {

// `lipcast_tensor` is a name for `at::Tensor`: what `tch` hands out is a pointer to one.
at::Tensor *tensor(lipcast_tensor *pointer) { return reinterpret_cast<at::Tensor *>(pointer); }
lipcast_tensor *handle(at::Tensor *pointer) { return reinterpret_cast<lipcast_tensor *>(pointer); }

char *text(const char *words) {
    char *copy = strdup(words);
    // Without memory to say so the process ends: a call that failed must not look like one that went well.
    if (copy == nullptr) std::terminate();
    return copy;
}

template <typename Work> char *guarded(Work work) noexcept {
    try {
        work();
        return nullptr;
    } catch (const c10::Error &error) {
        return text(error.what_without_backtrace());
    } catch (const std::exception &error) {
        return text(error.what());
    } catch (...) {
        return text("an unknown C++ exception");
    }
}

// A function or an object of libtorch's half for GPUs. Nothing here is linked with it, since it is opened when a GPU is
// asked for and is not there on a machine without; so both are looked up, by the names that compilers of Linux give them.
template <typename Found> Found *of_gpu_half(const char *name) {
    void *half = dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_NOLOAD);
    TORCH_CHECK(half != nullptr, "libtorch_cuda.so is not open");
    void *found = dlsym(half, name);
    // It stays open: whoever opened it never closes it.
    dlclose(half);
    TORCH_CHECK(found != nullptr, "libtorch_cuda.so has no ", name);
    return reinterpret_cast<Found *>(found);
}

// `at::cuda::CUDAGraph`, whose header needs those of CUDA; its members take the object as their first argument.
struct Graph {
    // `cudaStreamCaptureModeThreadLocal`: what other threads do to the GPU meanwhile is theirs.
    static constexpr int THREAD_LOCAL = 1;

    Graph() { of_gpu_half<void(void *, bool)>("_ZN2at4cuda9CUDAGraphC1Eb")(object.data(), false); }
    ~Graph() { destroy(object.data()); }
    Graph(const Graph &) = delete;
    Graph &operator=(const Graph &) = delete;

    // Memory is taken from what `beside` keeps; without one it keeps its own.
    void begin(Graph *beside) {
        c10::MempoolId_t pool = beside == nullptr ? c10::MempoolId_t{0, 0} : pool_(beside->object.data());
        begin_(object.data(), pool, THREAD_LOCAL);
    }
    void end() { end_(object.data()); }
    void replay() { replay_(object.data()); }

  private:
    // The object takes 104 bytes in libtorch 2.11.
    alignas(std::max_align_t) std::array<std::byte, 1024> object{};
    // Looked up before the object is made, since it could not be undone without them.
    void (*destroy)(void *) = of_gpu_half<void(void *)>("_ZN2at4cuda9CUDAGraphD1Ev");
    void (*begin_)(void *, c10::MempoolId_t, int) = of_gpu_half<void(void *, c10::MempoolId_t, int)>(
        "_ZN2at4cuda9CUDAGraph13capture_beginESt4pairIyyE21cudaStreamCaptureMode");
    void (*end_)(void *) = of_gpu_half<void(void *)>("_ZN2at4cuda9CUDAGraph11capture_endEv");
    c10::MempoolId_t (*pool_)(void *) = of_gpu_half<c10::MempoolId_t(void *)>("_ZN2at4cuda9CUDAGraph4poolEv");
    void (*replay_)(void *) = of_gpu_half<void(void *)>("_ZN2at4cuda9CUDAGraph6replayEv");
};

c10::Stream own_stream(c10::Device device) {
    c10::impl::VirtualGuardImpl gpu(device.type());
    gpu.synchronizeDevice(device.index());
    return gpu.getStreamFromGlobalPool(device);
}

} // namespace

struct lipcast_package {
    std::unique_ptr<AOTIModelPackageLoader> loader;
};

struct lipcast_inference {
    c10::InferenceMode mode{true};
};

struct lipcast_stream {
    c10::StreamGuard guard;
    explicit lipcast_stream(c10::Device device) : guard(own_stream(device)) {}
};

struct lipcast_graph {
    Graph graph;
};

extern "C" {

void lipcast_text_free(char *text) { free(text); }

// Without memory for it the process ends, as it does wherever Rust finds none.
lipcast_inference *lipcast_inference_begin(void) noexcept { return new lipcast_inference(); }
void lipcast_inference_end(lipcast_inference *inference) { delete inference; }

char *lipcast_package_open(const char *path, int8_t device, lipcast_package **package) {
    return guarded([&] {
        // Run by one thread at a time, it uses no events of the GPU, which could not be recorded in a graph.
        auto loader = std::make_unique<AOTIModelPackageLoader>(path, "model", true, 1, device);
        *package = new lipcast_package{std::move(loader)};
    });
}

char *lipcast_package_run(lipcast_package *package, lipcast_tensor *const *inputs, size_t count,
                          lipcast_tensor **outputs, size_t capacity, size_t *made) {
    return guarded([&] {
        std::vector<at::Tensor> given;
        given.reserve(count);
        for (size_t i = 0; i < count; i++) given.push_back(*tensor(inputs[i]));
        std::vector<at::Tensor> results = package->loader->run(given);
        TORCH_CHECK(results.size() <= capacity, "the package gives ", results.size(), " outputs, room is for ",
                    capacity);
        // All are allocated before the first is handed over, so that a failure in between leaks none.
        std::vector<std::unique_ptr<at::Tensor>> owned;
        owned.reserve(results.size());
        for (at::Tensor &result : results) owned.push_back(std::make_unique<at::Tensor>(std::move(result)));
        for (size_t i = 0; i < owned.size(); i++) outputs[i] = handle(owned[i].release());
        *made = owned.size();
    });
}

void lipcast_package_close(lipcast_package *package) {
    // A package's destructor may fail on a lost device; there is nobody to tell.
    char *failed = guarded([&] { package->loader.reset(); });
    lipcast_text_free(failed);
    delete package;
}

char *lipcast_stream_enter(int8_t device, lipcast_stream **stream) {
    return guarded([&] { *stream = new lipcast_stream(c10::Device(c10::DeviceType::CUDA, device)); });
}

char *lipcast_stream_leave(lipcast_stream *stream) {
    std::unique_ptr<lipcast_stream> owned(stream);
    return guarded([&] {
        owned->guard.current_stream().synchronize();
        // What was allocated on this stream and freed would wait for it for ever, and no other stream gets it.
        c10::getDeviceAllocator(c10::DeviceType::CUDA)->emptyCache();
    });
}

char *lipcast_waits_refused(bool refused) {
    return guarded([&] {
        // The one object behind `c10::cuda::warning_state()`, whose only member is an enum: 0 for nothing, 2 for an error.
        *of_gpu_half<int>("_ZZN3c104cuda13warning_stateEvE14warning_state_") = refused ? 2 : 0;
    });
}

char *lipcast_graph_begin(lipcast_graph *beside, lipcast_graph **graph) {
    return guarded([&] {
        auto begun = std::make_unique<lipcast_graph>();
        begun->graph.begin(beside == nullptr ? nullptr : &beside->graph);
        *graph = begun.release();
    });
}

char *lipcast_graph_end(lipcast_graph *graph) {
    return guarded([&] { graph->graph.end(); });
}

char *lipcast_graph_replay(lipcast_graph *graph) {
    return guarded([&] { graph->graph.replay(); });
}

void lipcast_graph_free(lipcast_graph *graph) { delete graph; }

char *lipcast_device_memory(int8_t device, int64_t *allocated, int64_t *reserved) {
    return guarded([&] {
        auto stats = c10::getDeviceAllocator(c10::DeviceType::CUDA)->getDeviceStats(device);
        auto all = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
        *allocated = stats.allocated_bytes[all].peak;
        *reserved = stats.reserved_bytes[all].peak;
    });
}

const char *lipcast_torch_version(void) { return TORCH_VERSION; }
}

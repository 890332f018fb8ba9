#include "native.h"

#include <cstring>
#include <exception>
#include <memory>
#include <vector>

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/version.h>

using torch::inductor::AOTIModelPackageLoader;

namespace {

// `lipcast_tensor` is a name for `at::Tensor`: what `tch` hands out is a pointer to one.
at::Tensor *tensor(lipcast_tensor *pointer) { return reinterpret_cast<at::Tensor *>(pointer); }
lipcast_tensor *handle(at::Tensor *pointer) { return reinterpret_cast<lipcast_tensor *>(pointer); }

char *text(const char *words) {
    char *copy = strdup(words);
    // Out of memory while saying so: the caller must still learn that it failed, and frees what it gets.
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

} // namespace

struct lipcast_package {
    std::unique_ptr<AOTIModelPackageLoader> loader;
};

struct lipcast_inference {
    c10::InferenceMode mode{true};
};

extern "C" {

void lipcast_text_free(char *text) { free(text); }

lipcast_inference *lipcast_inference_begin(void) { return new lipcast_inference(); }
void lipcast_inference_end(lipcast_inference *inference) { delete inference; }

char *lipcast_package_open(const char *path, int8_t device, lipcast_package **package) {
    return guarded([&] {
        auto loader = std::make_unique<AOTIModelPackageLoader>(path, "model", false, 1, device);
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

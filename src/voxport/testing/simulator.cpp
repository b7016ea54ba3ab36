// A device "npu" whose memory is the host's and whose kernels are torch's own for the CPU.
//
// Everything hangs on one function, `run_on_host`: it is the PrivateUse1 kernel of every operation that has one for the
// CPU. It lends the arguments to the CPU's kernel (the same memory seen as CPU tensors, nothing is copied), and takes
// the results over: what shares memory with an argument becomes a view of it, the rest becomes memory of the device.
// On the way it checks that all arguments are on one device, counts, refuses what is on the deny-list, and falsifies
// what a fault asks for.
//
// The functions at the end (extern "C") are called from Python by ctypes, so no Python headers are needed.
// Written against torch 2.13; members that older versions lack are declared without `override`.

#include <ATen/EmptyTensor.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/native/Resize.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/_scaled_dot_product_attention_math.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/nan_to_num.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_native.h>
#include <ATen/ops/zeros.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/alloc_cpu.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <sstream>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace {

constexpr auto kNpu = c10::DeviceType::PrivateUse1;
constexpr auto kNpuKey = c10::DispatchKey::PrivateUse1;
constexpr int kMostDevices = 16;
constexpr int64_t kGranule = 512;      // what torch_npu rounds an allocation up to
constexpr int64_t kSegment = 2 << 20;  // what it takes from the device at once

// ---------------------------------------------------------------------------------------------------------- memory

struct Memory {
  int64_t allocated = 0, peak = 0, reserved = 0, peak_reserved = 0, limit = 0;
  int64_t allocations = 0, frees = 0, failures = 0;
};

struct Machine {
  int devices = 1;
  std::atomic<bool> shown{true};
  std::mutex mutex;
  std::array<Memory, kMostDevices> memory;
};

// Never destroyed: tensors may outlive everything that is static.
Machine& machine() {
  static auto* it = new Machine;
  return *it;
}

thread_local int current_device = 0;
thread_local std::array<c10::StreamId, kMostDevices> current_stream{};
std::atomic<c10::StreamId> next_stream{1};
std::atomic<int64_t> synchronisations{0};

int64_t rounded(int64_t bytes, int64_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

std::string readable(int64_t bytes) {
  const char* const units[] = {"bytes", "KiB", "MiB", "GiB"};
  double value = static_cast<double>(bytes);
  int unit = 0;
  while (value >= 1024 && unit < 3) {
    value /= 1024;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof text, unit ? "%.2f %s" : "%.0f %s", value, units[unit]);
  return text;
}

void check_device(int device) {
  TORCH_CHECK(
      device >= 0 && device < machine().devices,
      "Invalid NPU device ID ", device, ": there are ", machine().devices, " simulated devices, starting at 0");
}

// Books `bytes` on a device. Returns what is to be given back with `release`.
int64_t claim(int device, int64_t bytes) {
  const int64_t size = rounded(bytes, kGranule);
  std::lock_guard<std::mutex> lock(machine().mutex);
  Memory& memory = machine().memory.at(device);
  if (memory.allocated + size > memory.limit) {
    ++memory.failures;
    TORCH_CHECK_WITH(
        OutOfMemoryError, false,
        "NPU out of memory. Tried to allocate ", readable(bytes), " (NPU ", device, "; ", readable(memory.limit),
        " total capacity; ", readable(memory.allocated), " already allocated; ", readable(memory.allocated),
        " current active; ", readable(memory.limit - memory.allocated), " free; ", readable(memory.reserved),
        " reserved in total by PyTorch) [simulated]");
  }
  memory.allocated += size;
  memory.peak = std::max(memory.peak, memory.allocated);
  // Freed memory stays reserved, as in a caching allocator, until it is asked for again or the limit is met.
  memory.reserved = std::max(memory.reserved, std::min(rounded(memory.allocated, kSegment), memory.limit));
  memory.peak_reserved = std::max(memory.peak_reserved, memory.reserved);
  ++memory.allocations;
  return size;
}

void release(int device, int64_t size) {
  std::lock_guard<std::mutex> lock(machine().mutex);
  Memory& memory = machine().memory.at(device);
  memory.allocated -= size;
  ++memory.frees;
}

// What a DataPtr of the device owns: memory of the host, held directly or through the CPU tensor it was made by.
struct Block {
  c10::DataPtr data;
  c10::Storage storage;
  int device;
  int64_t size;
};

void free_block(void* context) {
  auto* block = static_cast<Block*>(context);
  release(block->device, block->size);
  delete block;
}

c10::DataPtr allocate(int device, size_t bytes) {
  const c10::Device where(kNpu, static_cast<c10::DeviceIndex>(device));
  if (bytes == 0) {
    return {nullptr, where};
  }
  const int64_t size = claim(device, static_cast<int64_t>(bytes));
  std::unique_ptr<Block> block;
  try {
    block.reset(new Block{c10::GetDefaultCPUAllocator()->allocate(bytes), {}, device, size});
  } catch (...) {
    release(device, size);
    TORCH_CHECK_WITH(
        OutOfMemoryError, false, "NPU out of memory: the host has no ", readable(static_cast<int64_t>(bytes)),
        " for the simulated NPU ", device);
  }
  void* data = block->data.get();
  return {data, block.release(), &free_block, where};
}

// Memory that the CPU's kernel has allocated, as the device's.
c10::DataPtr adopt(int device, const c10::Storage& storage) {
  const c10::Device where(kNpu, static_cast<c10::DeviceIndex>(device));
  if (storage.nbytes() == 0) {
    return {nullptr, where};
  }
  const int64_t size = claim(device, static_cast<int64_t>(storage.nbytes()));
  auto* block = new Block{{}, storage, device, size};
  return {storage.mutable_data(), block, &free_block, where};
}

struct Allocator final : c10::DeviceAllocator {
  c10::DataPtr allocate(size_t bytes) override {
    return ::allocate(current_device, bytes);
  }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }
  bool initialized() override {
    return true;
  }
  void emptyCache(c10::MempoolId_t = {0, 0}) override {
    std::lock_guard<std::mutex> lock(machine().mutex);
    for (Memory& memory : machine().memory) {
      memory.reserved = std::min(rounded(memory.allocated, kSegment), memory.limit);
    }
  }
  void recordStream(const c10::DataPtr&, c10::Stream) override {}
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex device) override {
    check_device(device);
    std::lock_guard<std::mutex> lock(machine().mutex);
    const Memory& memory = machine().memory.at(device);
    c10::CachingDeviceAllocator::DeviceStats stats;
    for (auto* stat : {&stats.allocated_bytes, &stats.active_bytes, &stats.requested_bytes}) {
      stat->at(0).current = memory.allocated;
      stat->at(0).peak = memory.peak;
    }
    stats.reserved_bytes.at(0).current = memory.reserved;
    stats.reserved_bytes.at(0).peak = memory.peak_reserved;
    stats.allocation.at(0).current = memory.allocations - memory.frees;
    stats.allocation.at(0).allocated = memory.allocations;
    stats.allocation.at(0).freed = memory.frees;
    stats.num_ooms = memory.failures;
    return stats;
  }
  void resetAccumulatedStats(c10::DeviceIndex device) override {
    check_device(device);
    std::lock_guard<std::mutex> lock(machine().mutex);
    Memory& memory = machine().memory.at(device);
    memory.allocations -= memory.frees;
    memory.frees = 0;
    memory.failures = 0;
  }
  void resetPeakStats(c10::DeviceIndex device) override {
    check_device(device);
    std::lock_guard<std::mutex> lock(machine().mutex);
    Memory& memory = machine().memory.at(device);
    memory.peak = memory.allocated;
    memory.peak_reserved = memory.reserved;
  }
  std::pair<size_t, size_t> getMemoryInfo(c10::DeviceIndex device) {
    check_device(device);
    std::lock_guard<std::mutex> lock(machine().mutex);
    const Memory& memory = machine().memory.at(device);
    return {static_cast<size_t>(std::max<int64_t>(0, memory.limit - memory.reserved)),
            static_cast<size_t>(memory.limit)};
  }
};

Allocator& allocator() {
  static auto* it = new Allocator;
  return *it;
}

// Host memory that `pin_memory` has asked for: ordinary, but known.
struct PinnedAllocator final : c10::Allocator {
  static std::mutex& mutex() {
    static auto* it = new std::mutex;
    return *it;
  }
  static std::map<const char*, size_t>& ranges() {
    static auto* it = new std::map<const char*, size_t>;
    return *it;
  }
  static void free_pinned(void* data) {
    {
      std::lock_guard<std::mutex> lock(mutex());
      ranges().erase(static_cast<const char*>(data));
    }
    c10::free_cpu(data);
  }
  static bool contains(const void* data) {
    const auto* at = static_cast<const char*>(data);
    std::lock_guard<std::mutex> lock(mutex());
    auto next = ranges().upper_bound(at);
    if (next == ranges().begin()) {
      return false;
    }
    --next;
    return at < next->first + next->second;
  }
  c10::DataPtr allocate(size_t bytes) override {
    const c10::Device host(c10::DeviceType::CPU);
    if (bytes == 0) {
      return {nullptr, host};
    }
    void* data = c10::alloc_cpu(bytes);
    std::lock_guard<std::mutex> lock(mutex());
    ranges()[static_cast<const char*>(data)] = bytes;
    return {data, data, &free_pinned, host};
  }
  c10::DeleterFnPtr raw_deleter() const override {
    return &free_pinned;
  }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }
};

PinnedAllocator& pinned_allocator() {
  static auto* it = new PinnedAllocator;
  return *it;
}

// ------------------------------------------------------------------------------------- devices, streams, generators

struct Event {
  std::chrono::steady_clock::time_point at;
};

struct Guard final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override {
    return kNpu;
  }
  c10::Device exchangeDevice(c10::Device device) const override {
    const c10::Device before = getDevice();
    setDevice(device);
    return before;
  }
  c10::Device getDevice() const override {
    return {kNpu, static_cast<c10::DeviceIndex>(current_device)};
  }
  void setDevice(c10::Device device) const override {
    if (device.index() >= 0) {
      check_device(device.index());
      current_device = device.index();
    }
  }
  void uncheckedSetDevice(c10::Device device) const noexcept override {
    if (device.index() >= 0) {
      current_device = device.index();
    }
  }
  c10::Stream getStream(c10::Device device) const override {
    const c10::Device where = known(device);
    return c10::Stream(c10::Stream::UNSAFE, where, current_stream.at(where.index()));
  }
  c10::Stream getDefaultStream(c10::Device device) const override {
    return c10::Stream(c10::Stream::UNSAFE, known(device), 0);
  }
  c10::Stream getStreamFromGlobalPool(c10::Device device, bool = false) const override {
    return getNewStream(device);
  }
  c10::Stream getNewStream(c10::Device device, int = 0) const override {
    return c10::Stream(c10::Stream::UNSAFE, known(device), next_stream++);
  }
  c10::Stream exchangeStream(c10::Stream stream) const override {
    const c10::Stream before = getStream(stream.device());
    current_stream.at(stream.device_index()) = stream.id();
    return before;
  }
  void destroyEvent(void* event, const c10::DeviceIndex) const noexcept override {
    delete static_cast<Event*>(event);
  }
  void record(void** event, const c10::Stream&, const c10::DeviceIndex, const c10::EventFlag) const override {
    if (*event == nullptr) {
      *event = new Event;
    }
    static_cast<Event*>(*event)->at = std::chrono::steady_clock::now();
  }
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override {
    return true;
  }
  c10::DeviceIndex deviceCount() const noexcept override {
    return static_cast<c10::DeviceIndex>(machine().devices);
  }
  bool queryStream(const c10::Stream&) const override {
    return true;
  }
  void synchronizeStream(const c10::Stream&) const override {
    ++synchronisations;
  }
  void synchronizeEvent(void*) const override {
    ++synchronisations;
  }
  void synchronizeDevice(const c10::DeviceIndex) const override {
    ++synchronisations;
  }
  double elapsedTime(void* begin, void* end, const c10::DeviceIndex) const override {
    const auto time = static_cast<Event*>(end)->at - static_cast<Event*>(begin)->at;
    return std::chrono::duration<double, std::milli>(time).count();
  }

 private:
  static c10::Device known(c10::Device device) {
    const int index = device.index() >= 0 ? device.index() : current_device;
    check_device(index);
    return {kNpu, static_cast<c10::DeviceIndex>(index)};
  }
};

// A device's generator is one of the CPU's that only the device's operations use.
struct Generator final : c10::GeneratorImpl {
  Generator(c10::DeviceIndex device, at::Generator host)
      : c10::GeneratorImpl({kNpu, device}, c10::DispatchKeySet(kNpuKey)), host(std::move(host)) {}
  static c10::DeviceType device_type() {
    return kNpu;
  }
  void set_current_seed(uint64_t seed) override {
    host.set_current_seed(seed);
  }
  void set_offset(uint64_t offset) override {
    host.set_offset(offset);
  }
  uint64_t get_offset() const override {
    return host.get_offset();
  }
  uint64_t current_seed() const override {
    return host.current_seed();
  }
  uint64_t seed() override {
    return host.seed();
  }
  void set_state(const c10::TensorImpl& state) override {
    host.unsafeGetGeneratorImpl()->set_state(state);
  }
  c10::intrusive_ptr<c10::TensorImpl> get_state() const override {
    return host.unsafeGetGeneratorImpl()->get_state();
  }
  at::Generator host;

 private:
  Generator* clone_impl() const override {
    return new Generator(device_.index(), host.clone());
  }
};

at::Generator new_generator(c10::DeviceIndex device) {
  return at::make_generator<Generator>(device, at::detail::createCPUGenerator());
}

const at::Generator& default_generator(int device) {
  static auto* all = [] {
    auto* generators = new std::vector<at::Generator>;
    for (int index = 0; index < kMostDevices; ++index) {
      generators->push_back(new_generator(static_cast<c10::DeviceIndex>(index)));
    }
    return generators;
  }();
  return all->at(device < 0 ? current_device : device);
}

struct Hooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const {
    return true;
  }
  bool isAvailable() const {
    return machine().shown && machine().devices > 0;
  }
  bool hasPrimaryContext(c10::DeviceIndex) const override {
    return true;
  }
  void init() const override {}
  c10::DeviceIndex deviceCount() const override {
    return static_cast<c10::DeviceIndex>(machine().shown ? machine().devices : 0);
  }
  void setCurrentDevice(c10::DeviceIndex device) const override {
    check_device(device);
    current_device = device;
  }
  c10::DeviceIndex getCurrentDevice() const override {
    return static_cast<c10::DeviceIndex>(current_device);
  }
  c10::DeviceIndex exchangeDevice(c10::DeviceIndex device) const override {
    const auto before = getCurrentDevice();
    setCurrentDevice(device);
    return before;
  }
  c10::DeviceIndex maybeExchangeDevice(c10::DeviceIndex device) const override {
    return device < 0 ? getCurrentDevice() : exchangeDevice(device);
  }
  const at::Generator& getDefaultGenerator(c10::DeviceIndex device) const override {
    return default_generator(device);
  }
  at::Generator getNewGenerator(c10::DeviceIndex device = -1) const override {
    return new_generator(device < 0 ? getCurrentDevice() : device);
  }
  bool isPinnedPtr(const void* data) const override {
    return PinnedAllocator::contains(data);
  }
  at::Allocator* getPinnedMemoryAllocator() const override {
    return &pinned_allocator();
  }
  void resizePrivateUse1Bytes(const c10::Storage& storage, size_t bytes) const override {
    c10::DataPtr larger = allocate(storage.device().index(), bytes);
    const size_t kept = std::min(storage.nbytes(), bytes);
    if (kept > 0) {
      std::memcpy(larger.get(), storage.data(), kept);
    }
    auto* impl = storage.unsafeGetStorageImpl();
    impl->set_data_ptr_noswap(std::move(larger));
    impl->set_nbytes(bytes);
  }
};

// --------------------------------------------------------------------------------------------------------- faults

enum Fault { kGeluTanh, kHf32, kHalfAccumulation, kMaskIgnored, kSaturate, kFaults };

struct Faults {
  std::atomic<int> gelu_tanh{0};
  std::atomic<int> convolution_bits{0};  // 0 = off
  std::atomic<int> product_bits{0};
  std::atomic<int> block{0};             // 0 = off
  std::atomic<int64_t> mask_position{-1};
  std::atomic<int> saturate{0};
};

Faults everywhere;
thread_local Faults here;
std::array<std::atomic<int64_t>, kFaults> fault_hits{};

int stronger(const std::atomic<int>& a, const std::atomic<int>& b) {
  return std::max(a.load(std::memory_order_relaxed), b.load(std::memory_order_relaxed));
}

// Of two numbers the one that does more: fewer bits, shorter blocks.
int coarser(const std::atomic<int>& a, const std::atomic<int>& b) {
  const int x = a.load(std::memory_order_relaxed), y = b.load(std::memory_order_relaxed);
  return x == 0 ? y : y == 0 ? x : std::min(x, y);
}

int64_t mask_position() {
  const int64_t a = everywhere.mask_position, b = here.mask_position;
  return a < 0 ? b : b < 0 ? a : std::min(a, b);
}

// A copy whose float32 values have so many explicit bits of mantissa, rounded to nearest, ties to even.
at::Tensor with_mantissa_of(const at::Tensor& tensor, int bits) {
  if (!tensor.defined() || tensor.scalar_type() != at::kFloat || bits >= 23) {
    return tensor;
  }
  at::Tensor copy = tensor.clone();
  const int dropped = 23 - bits;
  auto* values = reinterpret_cast<uint32_t*>(copy.mutable_data_ptr<float>());
  const int64_t count = copy.numel();  // a clone is dense
  for (int64_t index = 0; index < count; ++index) {
    uint32_t value = values[index];
    if ((value & 0x7F800000u) != 0x7F800000u) {
      value += ((1u << (dropped - 1)) - 1) + ((value >> dropped) & 1u);
      values[index] = value & ~((1u << dropped) - 1);
    }
  }
  return copy;
}

// a @ b, in parts of `block` terms whose sum is kept in float16.
at::Tensor half_accumulated(const at::Tensor& a, const at::Tensor& b, int64_t block) {
  const at::Tensor left = a.to(at::kFloat), right = b.to(at::kFloat);
  const int64_t terms = left.size(-1);
  at::Tensor sum;
  for (int64_t begin = 0; begin < terms || !sum.defined(); begin += block) {
    const int64_t count = std::min(block, terms - begin);
    at::Tensor part = at::matmul(left.narrow(-1, begin, count), right.narrow(-2, begin, count));
    sum = (sum.defined() ? sum.add_(part) : part).to(at::kHalf).to(at::kFloat);
  }
  return sum;
}

// ------------------------------------------------------------------------------------------------------ operations

const std::unordered_set<std::string> kSynchronising = {
    // The host learns a value, or a shape that depends on values.
    "_local_scalar_dense", "equal", "nonzero", "masked_select", "_unique", "_unique2", "unique_dim",
    "unique_consecutive", "unique_dim_consecutive", "bincount", "_is_all_true", "_is_any_true"};

// Operations that can't overflow: values are set, moved, or change their sign. Filled once, at the start.
std::unordered_set<std::string>& moving() {
  static auto* it = new std::unordered_set<std::string>;
  return *it;
}

const std::unordered_set<std::string> kWithHostIndices = {
    "index", "_unsafe_index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index_put"};

struct Factors {
  int left, right, beta, alpha, added;
};

// Products of matrices: which arguments are multiplied, scaled and added.
const std::unordered_map<std::string, Factors> kProducts = {
    {"mm", {0, 1, -1, -1, -1}},      {"bmm", {0, 1, -1, -1, -1}},      {"mv", {0, 1, -1, -1, -1}},
    {"dot", {0, 1, -1, -1, -1}},     {"addmm", {1, 2, 3, 4, 0}},       {"addmm_", {1, 2, 3, 4, 0}},
    {"baddbmm", {1, 2, 3, 4, 0}},    {"baddbmm_", {1, 2, 3, 4, 0}},    {"addmv", {1, 2, 3, 4, 0}},
    {"addmv_", {1, 2, 3, 4, 0}}};

// What is known of an operation; made when it is met for the first time.
struct Operation {
  std::string name, full_name;  // "aten::add", "aten::add.Tensor"
  std::string base;             // "add"
  bool foreign = false;         // of the CPU only
  bool kernel = true;           // false: a view, or nothing but an allocation
  bool synchronises = false, host_indices = false, moves = false, in_place = false;
  bool convolution = false, convolution_backward = false;
  const Factors* product = nullptr;
  int generator = -1, approximate = -1, mask = -1, out = -1;
  std::vector<bool> written, host_allowed;
  std::atomic<int64_t> count{0};
};

// Other libraries' layouts and kernels, which no other device has.
bool is_foreign(const std::string& space, const std::string& base) {
  static const std::unordered_set<std::string> spaces = {
      "mkldnn", "mkldnn_prepacked", "mkl", "onednn", "quantized", "_quantized", "prepacked", "xnnpack", "sparse"};
  if (spaces.count(space)) {
    return true;
  }
  for (const char* prefix : {"mkldnn_", "_mkldnn", "to_mkldnn", "_to_mkldnn", "fbgemm_", "quantize_per", "_nnpack"}) {
    if (base.rfind(prefix, 0) == 0) {
      return true;
    }
  }
  return false;
}

std::shared_mutex operations_mutex;
std::unordered_map<const c10::FunctionSchema*, std::unique_ptr<Operation>>& operations() {
  static auto* it = new std::unordered_map<const c10::FunctionSchema*, std::unique_ptr<Operation>>;
  return *it;
}

Operation* describe(const c10::FunctionSchema& schema) {
  auto* found = new Operation;
  const auto& name = schema.operator_name();
  found->name = name.name;
  found->base = name.name.substr(name.name.find("::") + 2);
  found->foreign = is_foreign(name.name.substr(0, name.name.find("::")), found->base);
  found->convolution = found->base == "convolution_overrideable";
  found->convolution_backward = found->base == "convolution_backward_overrideable";
  if (found->convolution || found->convolution_backward) {
    found->name = found->convolution ? "aten::convolution" : "aten::convolution_backward";
    found->base = found->name.substr(6);
  }
  found->full_name = name.overload_name.empty() ? found->name : found->name + "." + name.overload_name;
  found->synchronises = kSynchronising.count(found->base) > 0;
  found->host_indices = kWithHostIndices.count(found->base) > 0;
  found->moves = moving().count(found->base) > 0;
  const auto product = kProducts.find(found->base);
  found->product = product == kProducts.end() ? nullptr : &product->second;
  const auto& arguments = schema.arguments();
  for (size_t index = 0; index < arguments.size(); ++index) {
    const auto& argument = arguments[index];
    const int at = static_cast<int>(index);
    const bool written = argument.alias_info() != nullptr && argument.alias_info()->isWrite();
    found->written.push_back(written);
    const std::string& called = argument.name();
    found->host_allowed.push_back(
        (found->host_indices && called == "indices") || called == "lengths" || called == "batch_sizes" ||
        called == "input_lengths" || called == "target_lengths");
    if (called == "generator") {
      found->generator = at;
    } else if (called == "approximate") {
      found->approximate = at;
    } else if (called == "attn_mask" && found->base == "scaled_dot_product_attention") {
      found->mask = at;
    } else if (called == "out" && written) {
      found->out = at;
    }
  }
  found->in_place = found->out < 0 && !found->written.empty() && found->written[0];
  for (const auto& result : schema.returns()) {
    if (result.alias_info() != nullptr && !result.alias_info()->isWrite()) {
      found->kernel = false;  // a view
    }
  }
  if (found->base == "resize_" || found->base == "is_set_to") {
    found->kernel = false;
  }
  return found;
}

Operation& operation(const c10::OperatorHandle& op) {
  const auto* schema = &op.schema();
  {
    std::shared_lock<std::shared_mutex> lock(operations_mutex);
    const auto found = operations().find(schema);
    if (found != operations().end()) {
      return *found->second;
    }
  }
  std::unique_lock<std::shared_mutex> lock(operations_mutex);
  auto& place = operations()[schema];
  if (place == nullptr) {
    place.reset(describe(*schema));
  }
  return *place;
}

std::atomic<int64_t> copies{0}, to_device{0}, to_host{0}, between_devices{0};

std::atomic<bool> anything_denied{false};
std::shared_mutex denied_mutex;
std::unordered_set<std::string>& denied() {
  static auto* it = new std::unordered_set<std::string>;
  return *it;
}

void refuse(const std::string& name) {
  TORCH_CHECK_NOT_IMPLEMENTED(
      false, "The operator '", name, "' is not currently supported on the NPU backend. [simulated]");
}

void check_supported(const std::string& name, const std::string& full_name) {
  if (anything_denied) {
    std::shared_lock<std::shared_mutex> lock(denied_mutex);
    if (denied().count(name) || denied().count(full_name)) {
      refuse(full_name);
    }
  }
}

// ------------------------------------------------------------------------------------------------ lending tensors

bool is_npu(const at::Tensor& tensor) {
  return tensor.defined() && tensor.device().type() == kNpu;
}

// One call of a CPU kernel: lends it tensors of the device, and takes over what it returns.
class Loan {
 public:
  explicit Loan(c10::Device device) : device_(device) {}

  // The same memory as a CPU tensor.
  at::Tensor lend(const at::Tensor& tensor) {
    for (const Pair& pair : pairs_) {
      if (pair.device.is_same(tensor)) {
        return pair.host;
      }
    }
    TORCH_CHECK_NOT_IMPLEMENTED(
        tensor.layout() == at::kStrided && tensor.has_storage(),
        "the simulated NPU has strided tensors only, not ", tensor.layout());
    auto host = at::detail::make_tensor<c10::TensorImpl>(
        storage_of(tensor), c10::DispatchKeySet(c10::DispatchKey::CPU), tensor.dtype());
    place(host, tensor);
    auto* impl = host.unsafeGetTensorImpl();
    if (tensor.unsafeGetTensorImpl()->is_wrapped_number()) {
      impl->set_wrapped_number(true);
    }
    host._set_conj(tensor.is_conj());
    host._set_neg(tensor.is_neg());
    pairs_.push_back({tensor, host});
    return host;
  }

  // A tensor that the CPU's kernel has returned, as one of the device.
  at::Tensor take(const at::Tensor& host) {
    if (!host.defined() || is_npu(host)) {
      return host;
    }
    for (const Pair& pair : pairs_) {
      if (pair.host.is_same(host)) {
        return pair.device;
      }
    }
    TORCH_CHECK_NOT_IMPLEMENTED(
        host.layout() == at::kStrided && host.has_storage(),
        "the simulated NPU has strided tensors only, not ", host.layout());
    for (const Shared& shared : shared_) {
      if (shared.host.unsafeGetStorageImpl() == host.storage().unsafeGetStorageImpl()) {
        return finish(
            at::detail::make_tensor<c10::TensorImpl>(
                c10::TensorImpl::VIEW, c10::Storage(shared.device), shared.keys, host.dtype()),
            host);
      }
    }
    c10::Storage storage(
        c10::Storage::use_byte_size_t(), host.storage().nbytes(), adopt(device_.index(), host.storage()),
        &allocator(), /*resizable=*/true);
    auto tensor = at::detail::make_tensor<c10::TensorImpl>(
        c10::Storage(storage), c10::DispatchKeySet(kNpuKey), host.dtype());
    shared_.push_back(
        {storage, host.storage(), host.storage().mutable_data(), host.storage().nbytes(), tensor.key_set()});
    return finish(std::move(tensor), host);
  }

  // Pass on to the lent tensors what was done to their shapes and to the size of their memory.
  void settle() {
    for (Shared& shared : shared_) {
      auto* host = shared.host.unsafeGetStorageImpl();
      if (host->data() != shared.data || host->nbytes() != shared.bytes) {
        auto* impl = shared.device.unsafeGetStorageImpl();
        impl->set_data_ptr_noswap(adopt(impl->device().index(), shared.host));
        impl->set_nbytes(host->nbytes());
        shared.data = host->mutable_data();
        shared.bytes = host->nbytes();
      }
    }
    for (const Pair& pair : pairs_) {
      if (pair.host.sizes() != pair.device.sizes() || pair.host.strides() != pair.device.strides() ||
          pair.host.storage_offset() != pair.device.storage_offset()) {
        place(pair.device, pair.host);
      }
    }
  }

 private:
  struct Pair {
    at::Tensor device, host;
  };
  struct Shared {
    c10::Storage device, host;
    const void* data;
    size_t bytes;
    c10::DispatchKeySet keys;
  };

  static void place(const at::Tensor& tensor, const at::Tensor& like) {
    tensor.unsafeGetTensorImpl()->set_sizes_and_strides(like.sizes(), like.strides(), like.storage_offset());
  }

  static at::Tensor finish(at::Tensor tensor, const at::Tensor& host) {
    place(tensor, host);
    auto* impl = tensor.unsafeGetTensorImpl();
    if (host.unsafeGetTensorImpl()->is_wrapped_number()) {
      impl->set_wrapped_number(true);
    }
    tensor._set_conj(host.is_conj());
    tensor._set_neg(host.is_neg());
    return tensor;
  }

  c10::Storage storage_of(const at::Tensor& tensor) {
    const c10::Storage& device = tensor.storage();
    for (const Shared& shared : shared_) {
      if (shared.device.unsafeGetStorageImpl() == device.unsafeGetStorageImpl()) {
        return shared.host;
      }
    }
    // Whoever lends keeps the tensor, and with it the memory.
    void* data = device.mutable_data();
    c10::Storage host(
        c10::Storage::use_byte_size_t(), device.nbytes(),
        c10::DataPtr(data, nullptr, &c10::detail::deleteNothing, c10::Device(c10::DeviceType::CPU)),
        c10::GetDefaultCPUAllocator(), /*resizable=*/true);
    shared_.push_back({device, host, data, device.nbytes(), tensor.key_set()});
    return host;
  }

  c10::Device device_;
  c10::SmallVector<Pair, 6> pairs_;
  c10::SmallVector<Shared, 6> shared_;
};

// --------------------------------------------------------------------------------------------------------- the kernel

using Stack = torch::jit::Stack;

template <class F>
void each_tensor(const c10::IValue& value, F&& visit) {
  if (value.isTensor()) {
    if (value.toTensor().defined()) {
      visit(value.toTensor());
    }
  } else if (value.isTensorList()) {
    for (const at::Tensor& tensor : value.toTensorVector()) {
      if (tensor.defined()) {
        visit(tensor);
      }
    }
  } else if (value.isOptionalTensorList()) {
    for (const std::optional<at::Tensor>& tensor : value.toOptionalTensorVector()) {
      if (tensor.has_value() && tensor->defined()) {
        visit(*tensor);
      }
    }
  }
}

template <class F>
c10::IValue with_each_tensor(const c10::IValue& value, F&& change) {
  if (value.isTensor()) {
    return value.toTensor().defined() ? c10::IValue(change(value.toTensor())) : value;
  }
  if (value.isTensorList()) {
    auto tensors = value.toTensorVector();
    for (at::Tensor& tensor : tensors) {
      if (tensor.defined()) {
        tensor = change(tensor);
      }
    }
    return c10::IValue(std::move(tensors));
  }
  if (value.isOptionalTensorList()) {
    c10::List<std::optional<at::Tensor>> tensors;
    for (const std::optional<at::Tensor>& tensor : value.toOptionalTensorVector()) {
      tensors.push_back(
          tensor.has_value() && tensor->defined() ? std::optional<at::Tensor>(change(*tensor)) : tensor);
    }
    return c10::IValue(std::move(tensors));
  }
  return value;
}

// The one device that all arguments are on, if any is on one. A number (a CPU tensor without dimensions) may be among
// them.
std::optional<c10::Device> common_device(const Operation& operation, const c10::FunctionSchema& schema, const Stack& stack, size_t begin) {
  std::optional<c10::Device> device;
  const size_t count = schema.arguments().size();
  for (size_t index = 0; index < count && !device; ++index) {
    each_tensor(stack[begin + index], [&](const at::Tensor& tensor) {
      if (!device && is_npu(tensor)) {
        device = tensor.device();
      }
    });
  }
  for (size_t index = 0; index < count; ++index) {
    const c10::IValue& value = stack[begin + index];
    if (value.isDevice() && !device && value.toDevice().type() == kNpu) {
      device = value.toDevice();
    }
    if (!device) {
      continue;
    }
    each_tensor(value, [&](const at::Tensor& tensor) {
      const bool number = tensor.device().is_cpu() && tensor.dim() == 0 && !operation.written[index];
      TORCH_CHECK(
          tensor.device() == *device || number || (tensor.device().is_cpu() && operation.host_allowed[index]),
          "Expected all tensors to be on the same device, but found at least two devices, ", *device, " and ",
          tensor.device(), "! (when checking argument for argument ", schema.arguments()[index].name(), " of ",
          operation.full_name, ")");
    });
  }
  if (device && device->index() < 0) {
    return c10::Device(kNpu, static_cast<c10::DeviceIndex>(current_device));
  }
  if (device) {
    check_device(device->index());
  }
  return device;
}

// The host's generator behind the device's own or the one that is given.
at::Generator host_generator(const c10::IValue& given, std::optional<c10::Device> device, bool has_tensors) {
  const at::Generator& generator =
      given.isGenerator() ? given.toGenerator() : default_generator(device ? device->index() : -1);
  const bool of_host = !device && has_tensors;  // only the generator brought the operation here
  TORCH_CHECK(
      (generator.device().type() == kNpu) != of_host, "Expected a '", of_host ? "cpu" : "npu",
      "' device type for generator but found '", generator.device().type(), "'");
  return generator.get<Generator>()->host;
}

// Falsify the arguments.
void falsify(const Operation& operation, Stack& stack, size_t begin) {
  if (operation.approximate >= 0 && stronger(everywhere.gelu_tanh, here.gelu_tanh) &&
      operation.base.rfind("gelu", 0) == 0) {
    auto& approximate = stack[begin + operation.approximate];
    if (approximate.toStringRef() != "tanh") {
      ++fault_hits[kGeluTanh];
      approximate = c10::IValue("tanh");
    }
  }
  if (operation.convolution || operation.product != nullptr) {
    const int bits = operation.convolution ? coarser(everywhere.convolution_bits, here.convolution_bits)
                                           : coarser(everywhere.product_bits, here.product_bits);
    const int left = operation.convolution ? 0 : operation.product->left;
    const int right = operation.convolution ? 1 : operation.product->right;
    if (bits > 0 && stack[begin + left].toTensor().scalar_type() == at::kFloat) {
      ++fault_hits[kHf32];
      for (const int index : {left, right}) {
        stack[begin + index] = with_mantissa_of(stack[begin + index].toTensor(), bits);
      }
    }
  }
  if (operation.mask >= 0) {
    const int64_t position = mask_position();
    auto& value = stack[begin + operation.mask];
    if (position >= 0 && value.isTensor() && value.toTensor().defined()) {
      const at::Tensor& mask = value.toTensor();
      const int64_t positions = mask.dim() > 0 ? mask.size(-1) : 0;
      if (position < positions && positions > 1) {
        ++fault_hits[kMaskIgnored];
        at::Tensor changed = mask.clone(at::MemoryFormat::Contiguous);
        changed.narrow(-1, position, positions - position).fill_(mask.scalar_type() == at::kBool ? 1 : 0);
        value = changed;
      }
    }
  }
}

// The product with a sum in float16, if that is asked for and the operation is one. Leaves the result on the stack.
bool accumulated_in_half(const Operation& operation, Stack& stack, size_t begin) {
  const int block = coarser(everywhere.block, here.block);
  if (operation.product == nullptr || block <= 0) {
    return false;
  }
  const Factors& factors = *operation.product;
  const at::Tensor left = stack[begin + factors.left].toTensor(), right = stack[begin + factors.right].toTensor();
  const auto dtype = left.scalar_type();
  if (dtype != right.scalar_type() || (dtype != at::kFloat && dtype != at::kHalf && dtype != at::kBFloat16)) {
    return false;
  }
  const bool vector = right.dim() == 1;
  const bool shapes_fit = left.dim() > 0 && right.dim() > 0 && left.size(-1) == right.size(vector ? 0 : -2);
  if (!shapes_fit) {
    return false;  // the kernel has better words for it
  }
  ++fault_hits[kHalfAccumulation];
  at::Tensor result = half_accumulated(
      left.dim() == 1 ? left.unsqueeze(0) : left, vector ? right.unsqueeze(1) : right, block);
  if (vector) {
    result = result.squeeze(-1);
  }
  if (left.dim() == 1) {
    result = result.squeeze(0);
  }
  if (factors.added >= 0) {
    const at::Scalar beta = stack[begin + factors.beta].toScalar();
    result = result.mul_(stack[begin + factors.alpha].toScalar());
    if (beta.toDouble() != 0.0) {
      result = result.add_(stack[begin + factors.added].toTensor().to(at::kFloat), beta);
    }
  }
  result = result.to(dtype);
  at::Tensor target;
  if (operation.out >= 0 || operation.in_place) {
    target = stack[begin + std::max(operation.out, 0)].toTensor();
    at::native::resize_output(target, result.sizes());
    target.copy_(result);
    result = target;
  }
  stack.resize(begin);
  stack.emplace_back(std::move(result));
  return true;
}

// Whether there was anything in float16.
bool saturate(at::Tensor host) {
  if (!host.defined() || host.scalar_type() != at::kHalf) {
    return false;
  }
  at::nan_to_num_(host, 0.0, 65504.0, -65504.0);
  return true;
}

// convolution_backward takes the bias's shape where the other one takes nothing.
void insert_bias_shape(Stack& stack, size_t begin) {
  const at::Tensor& weight = stack[begin + 2].toTensor();
  const bool transposed = stack[begin + 6].toBool();
  const int64_t groups = stack[begin + 8].toInt();
  const int64_t channels = transposed ? weight.size(1) * groups : weight.size(0);
  stack.insert(stack.begin() + static_cast<int64_t>(begin) + 3, c10::IValue(std::vector<int64_t>{channels}));
}

void call_kernel(const Operation& operation, const c10::OperatorHandle& op, Stack* stack, size_t begin) {
  static const auto convolution = c10::Dispatcher::singleton().findSchemaOrThrow("aten::convolution", "");
  static const auto convolution_backward =
      c10::Dispatcher::singleton().findSchemaOrThrow("aten::convolution_backward", "");
  // Below autograd, which has seen the operation already.
  at::AutoDispatchBelowADInplaceOrView guard;
  falsify(operation, *stack, begin);
  const c10::DispatchKeySet host(c10::DispatchKey::CPU);
  if (operation.convolution) {
    convolution.redispatchBoxed(host, stack);
  } else if (operation.convolution_backward) {
    insert_bias_shape(*stack, begin);
    convolution_backward.redispatchBoxed(host, stack);
  } else if (!accumulated_in_half(operation, *stack, begin)) {
    op.redispatchBoxed(host, stack);
  }
  if (stronger(everywhere.saturate, here.saturate) && operation.kernel && !operation.moves) {
    bool met = false;
    for (size_t index = begin; index < stack->size(); ++index) {
      each_tensor((*stack)[index], [&](const at::Tensor& tensor) { met = saturate(tensor) || met; });
    }
    if (met) {
      ++fault_hits[kSaturate];
    }
  }
}

bool waits_for_mask(const Operation& operation, const Stack& stack, size_t begin, size_t count) {
  bool waits = false;
  for (size_t index = 0; operation.host_indices && index < count; ++index) {
    if (operation.host_allowed[index]) {
      each_tensor(stack[begin + index], [&](const at::Tensor& tensor) {
        waits = waits || tensor.scalar_type() == at::kBool || tensor.scalar_type() == at::kByte;
      });
    }
  }
  return waits;
}

// The kernel of every operation.
void run_on_host(const c10::OperatorHandle& op, Stack* stack) {
  Operation& info = operation(op);
  if (info.foreign) {
    refuse(info.full_name);
  }
  check_supported(info.name, info.full_name);
  const auto& schema = op.schema();
  const size_t count = schema.arguments().size();
  const size_t begin = stack->size() - count;
  const std::optional<c10::Device> found = common_device(info, schema, *stack, begin);
  if (info.generator >= 0) {
    bool has_tensors = false;
    for (size_t index = begin; index < stack->size(); ++index) {
      each_tensor((*stack)[index], [&](const at::Tensor&) { has_tensors = true; });
    }
    c10::IValue& value = (*stack)[begin + info.generator];
    value = host_generator(value, found, has_tensors);
  }
  const c10::Device device = found.value_or(c10::Device(kNpu, static_cast<c10::DeviceIndex>(current_device)));
  const c10::DeviceGuard guard(device);
  Loan loan(device);
  if (info.kernel) {
    ++info.count;
  }
  if (info.synchronises || waits_for_mask(info, *stack, begin, count)) {
    ++synchronisations;
  }
  std::vector<c10::IValue> kept;  // the lent tensors' memory lives as long as they do
  kept.reserve(count);
  for (size_t index = 0; index < count; ++index) {
    c10::IValue& value = (*stack)[begin + index];
    kept.push_back(value);
    if (value.isDevice()) {
      if (value.toDevice().type() == kNpu) {
        value = c10::Device(c10::DeviceType::CPU);
      }
    } else {
      value = with_each_tensor(
          value, [&](const at::Tensor& tensor) { return is_npu(tensor) ? loan.lend(tensor) : tensor; });
    }
  }
  call_kernel(info, op, stack, begin);
  loan.settle();
  for (size_t index = begin; index < stack->size(); ++index) {
    c10::IValue& value = (*stack)[index];
    value = with_each_tensor(value, [&](const at::Tensor& tensor) { return loan.take(tensor); });
  }
}

// ---------------------------------------------------------------------------------- what has a kernel of its own

c10::Device device_or_current(std::optional<c10::Device> device) {
  const int index = device.has_value() && device->index() >= 0 ? device->index() : current_device;
  check_device(index);
  return {kNpu, static_cast<c10::DeviceIndex>(index)};
}

at::Tensor empty(
    at::IntArrayRef size, std::optional<at::ScalarType> dtype, std::optional<at::Layout> layout,
    std::optional<at::Device> device, std::optional<bool> pin, std::optional<at::MemoryFormat> format) {
  TORCH_CHECK(!pin.value_or(false), "Only dense CPU tensors can be pinned");
  TORCH_CHECK_NOT_IMPLEMENTED(
      layout.value_or(at::kStrided) == at::kStrided, "the simulated NPU has strided tensors only, not ", *layout);
  const c10::DeviceGuard guard(device_or_current(device));
  return at::detail::empty_generic(
      size, &allocator(), c10::DispatchKeySet(kNpuKey), c10::dtype_or_default(dtype), format);
}

at::Tensor empty_strided(
    at::IntArrayRef size, at::IntArrayRef stride, std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
    std::optional<at::Device> device, std::optional<bool> pin) {
  TORCH_CHECK(!pin.value_or(false), "Only dense CPU tensors can be pinned");
  const c10::DeviceGuard guard(device_or_current(device));
  return at::detail::empty_strided_generic(
      size, stride, &allocator(), c10::DispatchKeySet(kNpuKey), c10::dtype_or_default(dtype));
}

// Every copy that touches the device: torch's own copy_ leads here, with both tensors of one shape.
at::Tensor copy_from(const at::Tensor& from, const at::Tensor& to, bool non_blocking) {
  check_supported("aten::copy_", "aten::copy_");
  const c10::Device device = is_npu(to) ? to.device() : from.device();
  TORCH_CHECK(
      (is_npu(from) || from.device().is_cpu()) && (is_npu(to) || to.device().is_cpu()),
      "can't copy from ", from.device(), " to ", to.device());
  ++copies;
  if (!is_npu(from)) {
    ++to_device;
  } else if (!is_npu(to)) {
    ++to_host;
    if (!non_blocking) {
      ++synchronisations;
    }
  } else if (from.device() != to.device()) {
    ++between_devices;
  }
  const c10::DeviceGuard device_guard(device);
  Loan loan(device);
  at::AutoDispatchBelowADInplaceOrView guard;
  const at::Tensor source = is_npu(from) ? loan.lend(from) : from;
  at::Tensor target = is_npu(to) ? loan.lend(to) : to;
  target.copy_(source);
  if (is_npu(to) && from.scalar_type() != at::kHalf && stronger(everywhere.saturate, here.saturate) &&
      saturate(target)) {
    ++fault_hits[kSaturate];
  }
  return to;
}

// `to` is resized only if it doesn't fit: a view that does must stay one.
at::Tensor copy_from_and_resize(const at::Tensor& from, const at::Tensor& to) {
  if (to.sizes() != from.sizes()) {
    to.resize_(from.sizes());
  }
  return copy_from(from, to, false);
}

at::Tensor as_strided(
    const at::Tensor& self, at::IntArrayRef size, at::IntArrayRef stride, std::optional<int64_t> offset) {
  return at::native::as_strided_tensorimpl(self, size, stride, offset);
}

at::Tensor view(const at::Tensor& self, at::IntArrayRef size) {
  return at::native::view(self, size);
}

at::Tensor reshape_alias(const at::Tensor& self, at::IntArrayRef size, at::IntArrayRef stride) {
  return at::native::_reshape_alias(self, size, stride);
}

at::Tensor unfold(const at::Tensor& self, int64_t dimension, int64_t size, int64_t step) {
  return at::native::unfold(self, dimension, size, step);
}

at::Tensor& set_storage(
    at::Tensor& self, at::Storage source, int64_t offset, at::IntArrayRef size, at::IntArrayRef stride) {
  TORCH_CHECK(
      source.device() == self.device(), "Attempted to set the storage of a tensor on device \"", self.device(),
      "\" to a storage on different device \"", source.device(), "\". This is no longer allowed; the devices must match.");
  at::native::checkSetStorage(self, std::move(source), offset, size, stride);
  std::vector<int64_t> dense(size.size(), 1);
  for (int64_t index = static_cast<int64_t>(size.size()) - 2; index >= 0; --index) {
    dense[index] = dense[index + 1] * std::max<int64_t>(size[index + 1], 1);
  }
  const at::IntArrayRef strides = stride.size() == size.size() ? stride : at::IntArrayRef(dense);
  self.unsafeGetTensorImpl()->set_sizes_and_strides(size, strides, offset);
  const size_t needed = at::detail::computeStorageNbytes(
      size, strides, self.dtype().itemsize(), static_cast<size_t>(offset));
  if (needed > self.storage().nbytes()) {
    at::detail::getPrivateUse1Hooks().resizePrivateUse1Bytes(self.storage(), needed);
  }
  return self;
}

at::Tensor& set_whole_storage(at::Tensor& self, at::Storage source) {
  const auto count = static_cast<int64_t>(source.nbytes() / self.dtype().itemsize());
  return set_storage(self, std::move(source), 0, {count}, {});
}

at::Tensor& set_tensor(at::Tensor& self, const at::Tensor& source) {
  return self.is_same(source)
      ? self
      : set_storage(self, source.storage(), source.storage_offset(), source.sizes(), source.strides());
}

at::Tensor& set_empty(at::Tensor& self) {
  c10::Storage storage(
      c10::Storage::use_byte_size_t(), 0, c10::DataPtr(nullptr, self.device()), &allocator(), /*resizable=*/true);
  return set_storage(self, std::move(storage), 0, {0}, {});
}

void record_stream(at::Tensor&, at::Stream) {}

// Whether `tensor.data = other` may be done, and with it whether parameters stay the same objects when a module moves.
bool has_compatible_type(const at::Tensor& self, const at::Tensor& from) {
  const auto dense = [](const at::Tensor& tensor) {
    return tensor.layout() == at::kStrided && (is_npu(tensor) || tensor.device().is_cpu());
  };
  return self.key_set() == from.key_set() || (dense(self) && dense(from));
}

// One operation, as in torch_npu. With gradients it falls apart into those that have them.
at::Tensor attention_with_gradients(
    const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const std::optional<at::Tensor>& mask,
    double dropout, bool causal, std::optional<double> scale, bool grouped) {
  const bool wanted = at::GradMode::is_enabled() &&
      (query.requires_grad() || key.requires_grad() || value.requires_grad() ||
       (mask.has_value() && mask->defined() && mask->requires_grad()));
  if (wanted) {
    return std::get<0>(at::_scaled_dot_product_attention_math(
        query, key, value, mask, dropout, causal, std::nullopt, scale, grouped));
  }
  at::AutoDispatchBelowADInplaceOrView guard;
  return at::scaled_dot_product_attention(query, key, value, mask, dropout, causal, scale, grouped);
}

at::Tensor get_generator_state(int64_t device) {
  auto generator = default_generator(static_cast<int>(device));
  std::lock_guard<std::mutex> lock(generator.mutex());
  return generator.get_state();
}

void set_generator_state(const at::Tensor& state, int64_t device) {
  auto generator = default_generator(static_cast<int>(device));
  std::lock_guard<std::mutex> lock(generator.mutex());
  generator.set_state(state);
}

void seed_generator(int64_t seed, int64_t device) {
  auto generator = default_generator(static_cast<int>(device));
  std::lock_guard<std::mutex> lock(generator.mutex());
  generator.set_current_seed(static_cast<uint64_t>(seed));
}

// torch_npu's fused operations, on the host. The device has them by its fallback, like any other: one operation each.
std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> npu_add_layer_norm(
    const at::Tensor& x1, const at::Tensor& x2, const at::Tensor& gamma, const at::Tensor& beta, double epsilon,
    bool additional_output) {
  TORCH_CHECK(x1.sizes() == x2.sizes(), "npu_add_layer_norm: x1 and x2 must have the same shape");
  at::Tensor sum = x1 + x2;
  auto [normed, mean, reciprocal] = at::native_layer_norm(sum, gamma.sizes(), gamma, beta, epsilon);
  return {normed, mean.to(at::kFloat), reciprocal.to(at::kFloat), additional_output ? sum : at::empty({0}, x1.options())};
}

at::Tensor npu_ffn(
    const at::Tensor& x, const at::Tensor& weight1, const at::Tensor& weight2, std::string_view activation,
    const std::optional<at::Tensor>& bias1, const std::optional<at::Tensor>& bias2) {
  TORCH_CHECK(activation == "gelu", "the simulated npu_ffn knows the activation gelu only");
  TORCH_CHECK(
      x.scalar_type() == at::kHalf || x.scalar_type() == at::kBFloat16, "npu_ffn: float16 and bfloat16 only, not ",
      x.scalar_type());
  TORCH_CHECK(weight1.is_contiguous() && weight2.is_contiguous(), "npu_ffn: the weights must be contiguous");
  const bool tanh = stronger(everywhere.gelu_tanh, here.gelu_tanh);
  if (tanh) {
    ++fault_hits[kGeluTanh];
  }
  at::Tensor inner = at::matmul(x, weight1);
  inner = at::gelu(bias1.has_value() ? inner + *bias1 : inner, tanh ? "tanh" : "none");
  const at::Tensor result = at::matmul(inner, weight2);
  return bias2.has_value() ? result + *bias2 : result;
}

// Give every operation that has a kernel for the CPU one for the device.
void register_all() {
  auto* library = new torch::Library(torch::Library::IMPL, "aten", kNpuKey, __FILE__, __LINE__);
  auto* gradients =
      new torch::Library(torch::Library::IMPL, "aten", c10::DispatchKey::AutogradPrivateUse1, __FILE__, __LINE__);
  auto& dispatcher = c10::Dispatcher::singleton();
  for (const auto& name : dispatcher.getAllOpNames()) {
    const auto op = dispatcher.findSchema(name);
    if (name.name.rfind("aten::", 0) != 0 || !op.has_value()) {
      continue;
    }
    const std::string base = name.name.substr(6);
    const std::string full = name.overload_name.empty() ? base : base + "." + name.overload_name;
    const bool has_kernel = op->hasKernelForDispatchKey(kNpuKey);
    if (!has_kernel && (!op->hasKernelForDispatchKey(c10::DispatchKey::CPU) || is_foreign("aten", base))) {
      continue;
    }
    // torch 2.9 has no way from autograd to a kernel of ours, where an operation has no gradient.
    if (!op->hasComputedKernelForDispatchKey(c10::DispatchKey::AutogradPrivateUse1)) {
      gradients->impl(full.c_str(), torch::CppFunction::makeFallthrough());
    }
    if (!has_kernel) {
      library->impl(full.c_str(), torch::CppFunction::makeFromBoxedFunction<&run_on_host>());
    }
  }
}

std::string counters() {
  std::ostringstream text;
  {
    std::shared_lock<std::shared_mutex> lock(operations_mutex);
    for (const auto& entry : operations()) {
      if (entry.second->count > 0) {
        text << entry.second->full_name << ' ' << entry.second->count << '\n';
      }
    }
  }
  if (copies > 0) {
    text << "aten::copy_ " << copies << '\n';
  }
  text << "host_to_device " << to_device << "\ndevice_to_host " << to_host << "\ndevice_to_device " << between_devices
       << "\nsynchronisations " << synchronisations << '\n';
  return text.str();
}

}  // namespace

TORCH_LIBRARY_IMPL(_, PrivateUse1, m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&run_on_host>());
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("empty.memory_format", &empty);
  m.impl("empty_strided", &empty_strided);
  m.impl("_copy_from", &copy_from);
  m.impl("_copy_from_and_resize", &copy_from_and_resize);
  m.impl("as_strided", &as_strided);
  m.impl("view", &view);
  m.impl("_reshape_alias", &reshape_alias);
  m.impl("unfold", &unfold);
  m.impl("set_.source_Storage", &set_whole_storage);
  m.impl("set_.source_Storage_storage_offset", &set_storage);
  m.impl("set_.source_Tensor", &set_tensor);
  m.impl("set_", &set_empty);
  m.impl("record_stream", &record_stream);
  m.impl("_has_compatible_shallow_copy_type", &has_compatible_type);
  m.impl("convolution_overrideable", torch::CppFunction::makeFromBoxedFunction<&run_on_host>());
  m.impl("convolution_backward_overrideable", torch::CppFunction::makeFromBoxedFunction<&run_on_host>());
  // Made of others in torch, one operation in torch_npu.
  for (const char* whole : {"scaled_dot_product_attention", "logsumexp", "logsumexp.out"}) {
    m.impl(whole, torch::CppFunction::makeFromBoxedFunction<&run_on_host>());
  }
}

TORCH_LIBRARY(npu, m) {
  m.def(
      "npu_add_layer_norm(Tensor x1, Tensor x2, Tensor gamma, Tensor beta, float epsilon=1e-05, "
      "bool additional_output=False) -> (Tensor, Tensor, Tensor, Tensor)");
  m.def(
      "npu_ffn(Tensor x, Tensor weight1, Tensor weight2, str activation, *, Tensor? bias1=None, Tensor? bias2=None) "
      "-> Tensor");
}

TORCH_LIBRARY_IMPL(npu, CPU, m) {
  m.impl("npu_add_layer_norm", &npu_add_layer_norm);
  m.impl("npu_ffn", &npu_ffn);
}

TORCH_LIBRARY_IMPL(npu, AutogradPrivateUse1, m) {
  m.impl("npu_add_layer_norm", torch::CppFunction::makeFallthrough());
  m.impl("npu_ffn", torch::CppFunction::makeFallthrough());
}

// torch would resolve lazy conjugation and negation by a copy, which ends here again, without an end.
TORCH_LIBRARY_IMPL(aten, Conjugate, m) {
  m.impl("_copy_from", torch::CppFunction::makeFallthrough());
  m.impl("_copy_from_and_resize", torch::CppFunction::makeFallthrough());
}

TORCH_LIBRARY_IMPL(aten, Negative, m) {
  m.impl("_copy_from", torch::CppFunction::makeFallthrough());
  m.impl("_copy_from_and_resize", torch::CppFunction::makeFallthrough());
}

TORCH_LIBRARY_IMPL(aten, AutogradPrivateUse1, m) {
  m.impl("scaled_dot_product_attention", &attention_with_gradients);
}

TORCH_LIBRARY_IMPL(_, AutocastPrivateUse1, m) {
  m.fallback(torch::CppFunction::makeFallthrough());
}

#define IN_LOWER_PRECISION(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, lower_precision_fp)
#define IN_FLOAT32(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, fp32)

TORCH_LIBRARY_IMPL(aten, AutocastPrivateUse1, m) {
  AT_FORALL_LOWER_PRECISION_FP(IN_LOWER_PRECISION)
  AT_FORALL_FP32(IN_FLOAT32)
}

C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard)

TORCH_LIBRARY(voxport_simulator, m) {
  m.def("get_generator_state(int device) -> Tensor", &get_generator_state);
  m.def("set_generator_state(Tensor state, int device) -> ()", &set_generator_state);
  m.def("seed_generator(int seed, int device) -> ()", &seed_generator);
}

extern "C" {

// `moving_names`: operations that move values, as lines.
void simulator_start(int devices, int64_t limit, const char* moving_names) {
  machine().devices = devices;
  std::istringstream lines(moving_names);
  for (std::string line; std::getline(lines, line);) {
    moving().insert(line);
  }
  for (Memory& memory : machine().memory) {
    memory.limit = limit;
  }
  c10::SetAllocator(kNpu, &allocator());
  at::RegisterPrivateUse1HooksInterface(new Hooks);
  register_all();
}

// Whether torch.accelerator is to know of the devices.
void simulator_show(int shown) {
  machine().shown = shown != 0;
}

int simulator_current_device() {
  return current_device;
}

void simulator_set_device(int device) {
  current_device = device;
}

// What: 0 allocated, 1 its peak, 2 reserved, 3 its peak, 4 limit, 5 allocations, 6 frees, 7 refusals.
int64_t simulator_memory(int device, int what) {
  std::lock_guard<std::mutex> lock(machine().mutex);
  const Memory& memory = machine().memory.at(device);
  const int64_t values[] = {
      memory.allocated, memory.peak, memory.reserved, memory.peak_reserved,
      memory.limit, memory.allocations, memory.frees, memory.failures};
  return values[what];
}

void simulator_set_limit(int device, int64_t bytes) {
  std::lock_guard<std::mutex> lock(machine().mutex);
  Memory& memory = machine().memory.at(device);
  memory.limit = bytes;
  memory.reserved = std::min(memory.reserved, std::max(bytes, memory.allocated));
}

void simulator_reset_peak(int device) {
  allocator().resetPeakStats(static_cast<c10::DeviceIndex>(device));
}

void simulator_empty_cache() {
  allocator().emptyCache();
}

void simulator_synchronise() {
  ++synchronisations;
}

// The counters as lines "name number"; returns the length of the text, and writes as much as fits.
int64_t simulator_counters(char* buffer, int64_t size) {
  const std::string text = counters();
  if (size > 0) {
    std::snprintf(buffer, static_cast<size_t>(size), "%s", text.c_str());
  }
  return static_cast<int64_t>(text.size());
}

// Names as lines.
void simulator_deny(const char* names) {
  std::unique_lock<std::shared_mutex> lock(denied_mutex);
  denied().clear();
  std::istringstream lines(names);
  for (std::string line; std::getline(lines, line);) {
    denied().insert(line);
  }
  anything_denied = !denied().empty();
}

// For this thread, or for the whole process.
void simulator_set_faults(
    int this_thread, int gelu_tanh, int convolution_bits, int product_bits, int block, int64_t mask_position,
    int saturate) {
  Faults& faults = this_thread ? here : everywhere;
  faults.gelu_tanh = gelu_tanh;
  faults.convolution_bits = convolution_bits;
  faults.product_bits = product_bits;
  faults.block = block;
  faults.mask_position = mask_position;
  faults.saturate = saturate;
}

int64_t simulator_fault_hits(int fault) {
  return fault_hits.at(static_cast<size_t>(fault));
}
}

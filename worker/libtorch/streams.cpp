// Streams and events of any device that libtorch knows, without a CUDA header: a C interface over c10's virtual ones.
//
// Every function returns nullptr, or the message of the C++ exception, which the caller frees with convoy_free_message.
// A stream crosses as the three numbers that c10::Stream packs into; it lives as long as the process. Devices are CUDA's.

#include <memory>

#include <ATen/core/Tensor.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/Event.h>
#include <c10/core/Stream.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include "guarded.h"

using c10::Device;
using c10::DeviceIndex;
using c10::DeviceType;
using c10::Event;
using c10::Stream;
using c10::impl::VirtualGuardImpl;

namespace {

const DeviceType kType = DeviceType::CUDA;
static_assert(sizeof(c10::StreamData3) == 16, "src/libtorch/streams.rs has another layout of a stream");

Stream unpack(const c10::StreamData3* stream) {
  return Stream::unpack3(stream->stream_id, stream->device_index, stream->device_type);
}

}  // namespace

extern "C" {

// Returns the stream on which the calling thread's operations run.
char* convoy_stream_current(int device, c10::StreamData3* out) {
  return guarded([&] { *out = VirtualGuardImpl(kType).getStream(Device(kType, static_cast<DeviceIndex>(device))).pack3(); });
}

// Returns a stream of high priority beside it.
char* convoy_stream_new(int device, c10::StreamData3* out) {
  return guarded([&] {
    Device on(kType, static_cast<DeviceIndex>(device));
    *out = VirtualGuardImpl(kType).getStreamFromGlobalPool(on, /*isHighPriority=*/true).pack3();
  });
}

// Returns the cudaStream_t.
char* convoy_stream_native(const c10::StreamData3* stream, void** out) {
  return guarded([&] { *out = VirtualGuardImpl(kType).getStreamNativeHandle(unpack(stream)); });
}

// Sets `device` for the calling thread.
char* convoy_device_set(int device) {
  return guarded([&] { VirtualGuardImpl(kType).setDevice(Device(kType, static_cast<DeviceIndex>(device))); });
}

// Makes the calling thread's operations run on `stream`.
char* convoy_stream_enter(const c10::StreamData3* stream) {
  return guarded([&] { VirtualGuardImpl(kType).exchangeStream(unpack(stream)); });
}

// Records that `stream` uses the memory of `tensor`, which is not reused until the stream has passed this point.
char* convoy_stream_uses(const c10::StreamData3* stream, at::Tensor* tensor) {
  return guarded([&] { tensor->record_stream(unpack(stream)); });
}

// Returns the peak of the bytes that libtorch's tensors have taken on the device.
char* convoy_device_peak_bytes(int device, int64_t* out) {
  return guarded([&] {
    const auto stats = c10::getDeviceAllocator(kType)->getDeviceStats(static_cast<DeviceIndex>(device));
    *out = stats.allocated_bytes[static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE)].peak;
  });
}

// Returns an event that completes, with its time, when all work queued so far on the stream has.
char* convoy_event_record(const c10::StreamData3* stream, Event** out) {
  return guarded([&] {
    auto event = std::make_unique<Event>(kType, c10::EventFlag::BACKEND_DEFAULT);
    event->record(unpack(stream));
    *out = event.release();
  });
}

// Makes later work on the stream wait for the event.
char* convoy_event_block(const Event* event, const c10::StreamData3* stream) {
  return guarded([&] { event->block(unpack(stream)); });
}

// Returns whether the event has completed.
char* convoy_event_query(const Event* event, bool* out) {
  return guarded([&] { *out = event->query(); });
}

// Waits on the host until the event has completed.
char* convoy_event_synchronize(const Event* event) {
  return guarded([&] { event->synchronize(); });
}

// Returns the milliseconds from one completed event to another.
char* convoy_event_elapsed(const Event* from, const Event* to, double* out) {
  return guarded([&] { *out = from->elapsedTime(*to); });
}

void convoy_event_free(Event* event) { delete event; }

}  // extern "C"

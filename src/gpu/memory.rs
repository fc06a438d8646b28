//! How much memory an adapter has of its own. wgpu does not tell; the APIs below it do.

/// Bytes of main memory that programs may still take; all of it where the system tells no more; 0: nobody tells.
pub fn main_memory_available() -> u64 {
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    match system.available_memory() {
        0 => system.total_memory(),
        bytes => bytes,
    }
}

/// Bytes of device-local memory, where the API tells. On Metal memory is the machine's.
pub(super) fn device_bytes(adapter: &wgpu::Adapter) -> Option<u64> {
    let bytes = vulkan(adapter).or_else(|| dx12(adapter))?;
    (bytes > 0).then_some(bytes)
}

/// The largest heap that is local to the device.
#[cfg(any(windows, target_os = "linux", target_os = "android", target_os = "freebsd"))]
fn vulkan(adapter: &wgpu::Adapter) -> Option<u64> {
    /// `VK_MEMORY_HEAP_DEVICE_LOCAL_BIT`
    const DEVICE_LOCAL: u32 = 1;
    // SAFETY: the handles are only asked for properties, and live as long as the guard does.
    #[expect(unsafe_code, reason = "wgpu has no safe way to ask for heap sizes")]
    let properties = unsafe {
        let hal = adapter.as_hal::<wgpu::hal::api::Vulkan>()?;
        let instance = hal.shared_instance().raw_instance();
        instance.get_physical_device_memory_properties(hal.raw_physical_device())
    };
    let heaps = &properties.memory_heaps[..properties.memory_heap_count as usize];
    heaps.iter().filter(|heap| heap.flags.as_raw() & DEVICE_LOCAL != 0).map(|heap| heap.size).max()
}

#[cfg(not(any(windows, target_os = "linux", target_os = "android", target_os = "freebsd")))]
fn vulkan(_: &wgpu::Adapter) -> Option<u64> {
    None
}

/// Dedicated video memory.
#[cfg(windows)]
fn dx12(adapter: &wgpu::Adapter) -> Option<u64> {
    // SAFETY: the adapter is only asked for its description, and lives as long as the guard does.
    #[expect(unsafe_code, reason = "wgpu has no safe way to ask for video memory")]
    let description = unsafe {
        let hal = adapter.as_hal::<wgpu::hal::api::Dx12>()?;
        hal.as_raw().GetDesc().ok()?
    };
    Some(description.DedicatedVideoMemory as u64)
}

#[cfg(not(windows))]
fn dx12(_: &wgpu::Adapter) -> Option<u64> {
    None
}

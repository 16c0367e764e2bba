//! stub
/// stub
#[derive(Debug, Clone, Copy, Default)]
pub struct Latency(u64);
impl Latency {
    /// stub
    pub fn from_bits(bits: u64) -> Latency { Latency(bits) }
    /// stub
    pub fn to_bits(self) -> u64 { self.0 }
    /// stub
    pub fn observe(self, _now: u32, micros: f32) -> Latency { Latency(micros as u64) }
    /// stub
    pub fn failed(self, _now: u32, micros: f32) -> Latency { Latency(micros as u64) }
    /// stub
    pub fn read(self, _now: u32) -> f32 { self.0 as f32 }
}

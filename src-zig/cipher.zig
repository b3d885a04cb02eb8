//! The ciphers of src-cpp/crypto/bundled_ciphers.h for one level of processors, which the compiler is told by -mcpu.

const std = @import("std");
const builtin = @import("builtin");
const aes = std.crypto.core.aes;
const AesGcm = @import("aes_gcm.zig").AesGcm;
const wipe = @import("wipe.zig").wipe;

const is_x86 = builtin.cpu.arch == .x86_64;
const level = if (is_x86)
    if (has(.avx2)) "avx2" else "sse2"
else if (aes.has_hardware_support) "neon_aes" else "neon";

fn has(comptime feature: std.Target.x86.Feature) bool {
    return std.Target.x86.featureSetHas(builtin.cpu.features, feature);
}

const lanes = if (is_x86 and has(.avx2)) 8 else 4;
const ChaCha20Poly1305 = @import("chacha20_poly1305.zig").ChaCha20Poly1305(lanes);

/// A key, and what was computed from it. `bundled_ciphers.h` reserves its memory.
const State = extern union {
    chacha20_poly1305: [32]u8,
    aes128_gcm: [@sizeOf(AesGcm(aes.Aes128))]u8 align(64),
    aes256_gcm: [@sizeOf(AesGcm(aes.Aes256))]u8 align(64),
};

/// BundledCipher of bundled_ciphers.h.
const Cipher = extern struct {
    init: ?*const fn (state: *State, key: [*]const u8) callconv(.C) void = null,
    seal: ?*const fn (*const State, nonce: *const [12]u8, associated: [*]const u8, associated_length: usize, text: [*]u8, length: usize) callconv(.C) void = null,
    open: ?*const fn (*const State, nonce: *const [12]u8, associated: [*]const u8, associated_length: usize, text: [*]u8, length: usize) callconv(.C) bool = null,
};

/// BundledCiphers of bundled_ciphers.h.
const Ciphers = extern struct {
    level: [*:0]const u8 = level,
    state_size: usize = @sizeOf(State),
    chacha20_poly1305: Cipher = .{ .init = initChaCha, .seal = sealChaCha, .open = openChaCha },
    aes128_gcm: Cipher = .{},
    aes256_gcm: Cipher = .{},
};

fn initChaCha(state: *State, key: [*]const u8) callconv(.C) void {
    state.chacha20_poly1305 = key[0..32].*;
}

fn sealChaCha(state: *const State, nonce: *const [12]u8, associated: [*]const u8, associated_length: usize, text: [*]u8, length: usize) callconv(.C) void {
    ChaCha20Poly1305.seal(&state.chacha20_poly1305, nonce, associated[0..associated_length], text[0..length], text[length..][0..16]);
}

fn openChaCha(state: *const State, nonce: *const [12]u8, associated: [*]const u8, associated_length: usize, text: [*]u8, length: usize) callconv(.C) bool {
    return ChaCha20Poly1305.open(&state.chacha20_poly1305, nonce, associated[0..associated_length], text[0..length], text[length..][0..16]);
}

fn gcm(comptime Aes: type) Cipher {
    const Gcm = AesGcm(Aes);
    const calls = struct {
        fn init(state: *State, key: [*]const u8) callconv(.C) void {
            Gcm.init(@ptrCast(@alignCast(state)), key[0 .. Aes.key_bits / 8]);
        }
        fn seal(state: *const State, nonce: *const [12]u8, associated: [*]const u8, associated_length: usize, text: [*]u8, length: usize) callconv(.C) void {
            const self: *const Gcm = @ptrCast(@alignCast(state));
            self.seal(nonce, associated[0..associated_length], text[0..length], text[length..][0..16]);
        }
        fn open(state: *const State, nonce: *const [12]u8, associated: [*]const u8, associated_length: usize, text: [*]u8, length: usize) callconv(.C) bool {
            const self: *const Gcm = @ptrCast(@alignCast(state));
            return self.open(nonce, associated[0..associated_length], text[0..length], text[length..][0..16]);
        }
    };
    return .{ .init = calls.init, .seal = calls.seal, .open = calls.open };
}

const ciphers = if (aes.has_hardware_support)
    Ciphers{ .aes128_gcm = gcm(aes.Aes128), .aes256_gcm = gcm(aes.Aes256) }
else
    Ciphers{};

comptime {
    @export(&ciphers, .{ .name = "tuntap_ciphers_" ++ level, .visibility = .hidden });
}

//! X25519 for src-cpp/crypto/bundled_ciphers.h.

const std = @import("std");
const wipe = @import("wipe.zig").wipe;
const Curve25519 = std.crypto.ecc.Curve25519;

/// Returns 0, or -1 if the public key is a point of low order: the secret would be zero.
fn x25519(secret: *[32]u8, private_key: *const [32]u8, public_key: *const [32]u8) callconv(.C) c_int {
    defer @call(.never_inline, wipeStack, .{});
    return @call(.never_inline, multiply, .{ secret, private_key, public_key });
}

fn multiply(secret: *[32]u8, private_key: *const [32]u8, public_key: *const [32]u8) c_int {
    const point = Curve25519.fromBytes(public_key.*).clampedMul(private_key.*) catch return -1;
    secret.* = point.toBytes();
    return 0;
}

/// Clears what multiply() left where its variables were: the key, and the steps of the multiplication.
fn wipeStack() void {
    var left: [8192]u8 = undefined;
    wipe([8192]u8, &left);
}

comptime {
    @export(&x25519, .{ .name = "tuntap_x25519", .visibility = .hidden });
}

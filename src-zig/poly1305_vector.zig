//! Poly1305's sum by vectors of four lanes: each lane is a block of four, in limbs of 26 bits, whose products fit 64 bits.

const std = @import("std");
const wipe = @import("wipe.zig").wipe;
const Number = @import("poly1305.zig").Number;

const Vector = @Vector(4, u64);
const Limbs = [5]Vector;
const mask26 = (1 << 26) - 1;
const mask44 = (1 << 44) - 1;

/// How many bytes are added at once.
pub const step = 128;
/// For less, computing the powers costs more than it saves.
pub const threshold = 2 * step;

/// A factor, and what its limbs are times 5: 2^130 is 5.
const Factor = struct {
    limbs: Limbs,
    folded: Limbs,

    /// One number for each lane.
    fn of(lanes: [4][5]u64) Factor {
        var factor: Factor = undefined;
        for (0..5) |limb| {
            for (0..4) |lane| factor.limbs[limb][lane] = lanes[lane][limb];
            factor.folded[limb] = factor.limbs[limb] * @as(Vector, @splat(5));
        }
        return factor;
    }
};

/// From limbs of 44, 44 and 42 bits.
fn split(number: Number) [5]u64 {
    const first = number[0] & mask44;
    const second = number[1] + (number[0] >> 44);
    const third = number[2] + (second >> 44);
    return .{
        first & mask26,
        ((first >> 26) | (second << 18)) & mask26,
        (second >> 8) & mask26,
        (((second & mask44) >> 34) | (third << 10)) & mask26,
        third >> 16,
    };
}

/// From limbs of 26 bits, the lower ones carried.
fn join(limbs: [5]u64) Number {
    const first = limbs[0] + (limbs[1] << 26);
    const second = (limbs[2] << 8) + (limbs[3] << 34) + (first >> 44);
    const third = (limbs[4] << 16) + (second >> 44);
    const low = (first & mask44) + (third >> 42) * 5;
    return .{ low & mask44, (second & mask44) + (low >> 44), third & ((1 << 42) - 1) };
}

/// Of 32 bits each.
inline fn product(a: Vector, b: Vector) Vector {
    const half: Vector = @splat(0xffffffff);
    return (a & half) *% (b & half);
}

inline fn addProduct(sum: *Limbs, a: Limbs, b: *const Factor) void {
    inline for (0..5) |i| {
        inline for (0..5) |j| {
            // Limb i is a product of limb j and limb i - j, or of the one that is beyond 2^130.
            sum[i] +%= product(a[j], if (j <= i) b.limbs[i - j] else b.folded[5 + i - j]);
        }
    }
}

inline fn carryLimb(sum: *Limbs, comptime from: usize) void {
    const over = sum[from] >> @splat(26);
    sum[from] &= @splat(mask26);
    if (from < 4) sum[from + 1] +%= over else sum[0] +%= over +% (over << @splat(2));
}

/// Two chains side by side. Limbs 1 and 4 may keep a bit more.
inline fn carry(sum: *Limbs) void {
    inline for (.{ 0, 3, 1, 4, 2, 0, 3 }) |limb| carryLimb(sum, limb);
}

/// Four blocks, in the order of `lane_order`, with 2^128 added to each.
inline fn take(bytes: *const [64]u8) Limbs {
    const a: Vector = @bitCast(bytes[0..32].*);
    const b: Vector = @bitCast(bytes[32..64].*);
    const low = @shuffle(u64, a, b, @Vector(4, i32){ 0, ~@as(i32, 0), 2, ~@as(i32, 2) });
    const high = @shuffle(u64, a, b, @Vector(4, i32){ 1, ~@as(i32, 1), 3, ~@as(i32, 3) });
    const mask: Vector = @splat(mask26);
    return .{
        low & mask,
        (low >> @splat(26)) & mask,
        ((low >> @splat(52)) | (high << @splat(12))) & mask,
        (high >> @splat(14)) & mask,
        (high >> @splat(40)) | @as(Vector, @splat(1 << 24)),
    };
}

/// Which block is in which lane, as unpacking words of two vectors leaves them.
const lane_order = [4]usize{ 0, 2, 1, 3 };

/// Adds bytes to a sum, a multiple of `step`. `powers`: 1, 2, 3, 4 and 8 of the key.
pub fn add(sum: Number, powers: *const [5]Number, bytes: []const u8) Number {
    var by4 = Factor.of(.{split(powers[3])} ** 4);
    var by8 = Factor.of(.{split(powers[4])} ** 4);
    var h: Limbs = .{@as(Vector, @splat(0))} ** 5;
    var first = split(sum);
    var at: usize = 0;
    while (at < bytes.len) : (at += step) {
        // h * r^8 + block * r^4 + block, lane by lane.
        var block = take(bytes[at..][0..64]);
        var next = take(bytes[at + 64 ..][0..64]);
        if (at == 0) inline for (0..5) |i| {
            block[i][0] += first[i];
        };
        addProduct(&next, block, &by4);
        addProduct(&next, h, &by8);
        carry(&next);
        h = next;
    }
    var lanes: [4][5]u64 = undefined;
    for (lane_order, 0..) |block, lane| lanes[lane] = split(powers[3 - block]);
    var last = Factor.of(lanes);
    var total: Limbs = .{@as(Vector, @splat(0))} ** 5;
    addProduct(&total, h, &last);
    carry(&total);
    var limbs: [5]u64 = undefined;
    for (&limbs, total) |*limb, vector| limb.* = @reduce(.Add, vector);
    for (0..4) |i| {
        limbs[i + 1] += limbs[i] >> 26;
        limbs[i] &= mask26;
    }
    wipe(Factor, &by4);
    wipe(Factor, &by8);
    wipe(Factor, &last);
    wipe([5]u64, &first);
    wipe([4][5]u64, &lanes);
    return join(limbs);
}

//! Poly1305 (RFC 8439 section 2.5), four blocks to a reduction. Numbers modulo 2^130 - 5 are in limbs of 44, 44 and 42
//! bits, so that products of them add up in 128 bits without a carry. With AVX2, poly1305_vector.zig takes eight blocks at
//! once.

const std = @import("std");
const builtin = @import("builtin");
const vector = @import("poly1305_vector.zig");

const use_vectors = builtin.cpu.arch == .x86_64 and std.Target.x86.featureSetHas(builtin.cpu.features, .avx2);

const mask44 = (1 << 44) - 1;
const mask42 = (1 << 42) - 1;

pub const Number = [3]u64;

/// A factor and, of its upper limbs, what they are times 20: 2^132 is 4 * 2^130, so it is 4 * 5.
const Factor = struct {
    limbs: Number,
    folded: [2]u64,

    inline fn of(limbs: Number) Factor {
        return .{ .limbs = limbs, .folded = .{ limbs[1] * 20, limbs[2] * 20 } };
    }
};

inline fn product(a: u64, b: u64) u128 {
    return @as(u128, a) * b;
}

/// Adds a * b, not reduced.
inline fn addProduct(sum: *[3]u128, a: Number, b: *const Factor) void {
    sum[0] += product(a[0], b.limbs[0]) + product(a[1], b.folded[1]) + product(a[2], b.folded[0]);
    sum[1] += product(a[0], b.limbs[1]) + product(a[1], b.limbs[0]) + product(a[2], b.folded[1]);
    sum[2] += product(a[0], b.limbs[2]) + product(a[1], b.limbs[1]) + product(a[2], b.limbs[0]);
}

/// Carries once around: limb 1 may keep a few bits more than 44.
inline fn carry(sum: [3]u128) Number {
    var out: Number = undefined;
    out[0] = @as(u64, @truncate(sum[0])) & mask44;
    const second = sum[1] + @as(u64, @truncate(sum[0] >> 44));
    out[1] = @as(u64, @truncate(second)) & mask44;
    const third = sum[2] + @as(u64, @truncate(second >> 44));
    out[2] = @as(u64, @truncate(third)) & mask42;
    out[0] += @as(u64, @truncate(third >> 42)) * 5;
    out[1] += out[0] >> 44;
    out[0] &= mask44;
    return out;
}

inline fn multiply(a: Number, b: *const Factor) Number {
    var sum = [3]u128{ 0, 0, 0 };
    addProduct(&sum, a, b);
    return carry(sum);
}

/// A block's number, with 2^128 added.
inline fn take(block: *const [16]u8) Number {
    const low = std.mem.readInt(u64, block[0..8], .little);
    const high = std.mem.readInt(u64, block[8..16], .little);
    return .{ low & mask44, ((low >> 44) | (high << 20)) & mask44, (high >> 24) | (1 << 40) };
}

inline fn sumOf(a: Number, b: Number) Number {
    return .{ a[0] + b[0], a[1] + b[1], a[2] + b[2] };
}

pub const Poly1305 = struct {
    powers: [4]Factor,
    sum: Number = .{ 0, 0, 0 },
    pad: [2]u64,

    /// `length`: how much will be added about; less than four blocks don't need all powers.
    pub inline fn init(key: *const [32]u8, length: usize) Poly1305 {
        const low = std.mem.readInt(u64, key[0..8], .little) & 0x0ffffffc0fffffff;
        const high = std.mem.readInt(u64, key[8..16], .little) & 0x0ffffffc0ffffffc;
        var powers: [4]Factor = undefined;
        powers[0] = Factor.of(.{ low & mask44, ((low >> 44) | (high << 20)) & mask44, high >> 24 });
        if (length >= 64) {
            inline for (1..4) |i| powers[i] = Factor.of(multiply(powers[i - 1].limbs, &powers[0]));
        }
        return .{
            .powers = powers,
            .pad = .{ std.mem.readInt(u64, key[16..24], .little), std.mem.readInt(u64, key[24..32], .little) },
        };
    }

    /// Adds whole blocks. No more than `length` of init().
    pub inline fn addBlocks(self: *Poly1305, bytes: []const u8) void {
        var at: usize = 0;
        if (use_vectors and bytes.len >= vector.threshold) {
            var powers: [5]Number = undefined;
            for (powers[0..4], self.powers) |*power, factor| power.* = factor.limbs;
            powers[4] = multiply(powers[3], &self.powers[3]);
            at = bytes.len - bytes.len % vector.step;
            self.sum = vector.add(self.sum, &powers, bytes[0..at]);
        }
        var sum = self.sum;
        while (bytes.len - at >= 64) : (at += 64) {
            var wide = [3]u128{ 0, 0, 0 };
            addProduct(&wide, sumOf(sum, take(bytes[at..][0..16])), &self.powers[3]);
            inline for (1..4) |i| addProduct(&wide, take(bytes[at + 16 * i ..][0..16]), &self.powers[3 - i]);
            sum = carry(wide);
        }
        while (bytes.len - at >= 16) : (at += 16) {
            sum = multiply(sumOf(sum, take(bytes[at..][0..16])), &self.powers[0]);
        }
        self.sum = sum;
    }

    /// Adds bytes, and zeros up to a whole block.
    pub inline fn addPadded(self: *Poly1305, bytes: []const u8) void {
        const whole = bytes.len & ~@as(usize, 15);
        self.addBlocks(bytes[0..whole]);
        if (whole == bytes.len) return;
        var last = [_]u8{0} ** 16;
        @memcpy(last[0 .. bytes.len - whole], bytes[whole..]);
        self.addBlocks(&last);
    }

    pub inline fn final(self: *Poly1305, tag: *[16]u8) void {
        var h = self.sum;
        // Twice around, so that each limb is within its bits.
        inline for (0..2) |_| {
            h[1] += h[0] >> 44;
            h[0] &= mask44;
            h[2] += h[1] >> 44;
            h[1] &= mask44;
            h[0] += (h[2] >> 42) * 5;
            h[2] &= mask42;
        }
        h[1] += h[0] >> 44;
        h[0] &= mask44;
        // h - p = h + 5 - 2^130, if that is not negative.
        var g: Number = undefined;
        g[0] = h[0] + 5;
        g[1] = h[1] + (g[0] >> 44);
        g[0] &= mask44;
        g[2] = h[2] +% (g[1] >> 44) -% (1 << 42);
        g[1] &= mask44;
        const below = @as(u64, 0) -% (g[2] >> 63); // all ones if h < p
        inline for (0..3) |i| h[i] = (h[i] & below) | (g[i] & ~below);
        const low = h[0] | (h[1] << 44);
        const high = (h[1] >> 20) | (h[2] << 24);
        const first, const overflow = @addWithOverflow(low, self.pad[0]);
        std.mem.writeInt(u64, tag[0..8], first, .little);
        std.mem.writeInt(u64, tag[8..16], high +% self.pad[1] +% overflow, .little);
    }
};

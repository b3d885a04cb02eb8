//! ChaCha20 (RFC 8439 section 2.4), several blocks at once: lane i of each vector is a word of block i.

const std = @import("std");

/// `lanes`: a power of two up to 16, how many 32-bit words a vector register holds.
pub fn ChaCha20(comptime lanes: comptime_int) type {
    return struct {
        const Vector = @Vector(lanes, u32);
        /// What one call computes.
        pub const blocks = lanes;
        pub const size = 64 * blocks;

        /// A key and a nonce, as words.
        pub const Input = struct {
            key: [8]u32,
            nonce: [3]u32,

            pub fn init(key: *const [32]u8, nonce: *const [12]u8) Input {
                var input: Input = undefined;
                inline for (&input.key, 0..) |*word, i| word.* = std.mem.readInt(u32, key[4 * i ..][0..4], .little);
                inline for (&input.nonce, 0..) |*word, i| word.* = std.mem.readInt(u32, nonce[4 * i ..][0..4], .little);
                return input;
            }
        };

        /// The key stream's blocks `counter` and following, in the order of memory.
        inline fn stream(input: *const Input, counter: u32) [16]Vector {
            const constants = [4]u32{ 0x61707865, 0x3320646e, 0x79622d32, 0x6b206574 };
            var initial: [16]Vector = undefined;
            inline for (0..4) |i| initial[i] = @splat(constants[i]);
            inline for (0..8) |i| initial[4 + i] = @splat(input.key[i]);
            initial[12] = @as(Vector, @splat(counter)) +% std.simd.iota(u32, lanes);
            inline for (0..3) |i| initial[13 + i] = @splat(input.nonce[i]);
            var x = initial;
            for (0..10) |_| {
                inline for (0..4) |i| quarterRound(&x, i, 4 + i, 8 + i, 12 + i);
                inline for (0..4) |i| quarterRound(&x, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4);
            }
            inline for (0..16) |i| x[i] +%= initial[i];
            return transpose(x);
        }

        inline fn quarterRound(x: *[16]Vector, a: usize, b: usize, c: usize, d: usize) void {
            x[a] +%= x[b];
            x[d] = std.math.rotl(Vector, x[d] ^ x[a], 16);
            x[c] +%= x[d];
            x[b] = std.math.rotl(Vector, x[b] ^ x[c], 12);
            x[a] +%= x[b];
            x[d] = std.math.rotl(Vector, x[d] ^ x[a], 8);
            x[c] +%= x[d];
            x[b] = std.math.rotl(Vector, x[b] ^ x[c], 7);
        }

        /// From vectors of one word each to the blocks one behind the other. Words are taken by groups of `lanes`; a group
        /// is a square, whose off-diagonal quarters change places at each size.
        inline fn transpose(words: [16]Vector) [16]Vector {
            @setEvalBranchQuota(20_000);
            var x = words;
            comptime var step = 1;
            inline while (step < lanes) : (step *= 2) {
                inline for (0..16) |i| {
                    if (i & step == 0) {
                        const low, const high = comptime masks(step);
                        const a = x[i];
                        const b = x[i + step];
                        x[i] = @shuffle(u32, a, b, low);
                        x[i + step] = @shuffle(u32, a, b, high);
                    }
                }
            }
            // Group g of block i is in x[g * lanes + i].
            var out: [16]Vector = undefined;
            inline for (0..lanes) |block| {
                inline for (0..16 / lanes) |group| out[block * (16 / lanes) + group] = x[group * lanes + block];
            }
            return out;
        }

        fn masks(step: usize) struct { @Vector(lanes, i32), @Vector(lanes, i32) } {
            var low: [lanes]i32 = undefined;
            var high: [lanes]i32 = undefined;
            for (0..lanes) |k| {
                const of_a = k & step == 0;
                low[k] = if (of_a) @intCast(k) else ~@as(i32, @intCast(k - step));
                high[k] = if (of_a) @intCast(k + step) else ~@as(i32, @intCast(k));
            }
            return .{ low, high };
        }

        /// Writes `size` bytes of the key stream.
        pub inline fn write(out: *[size]u8, input: *const Input, counter: u32) void {
            const vectors = stream(input, counter);
            inline for (vectors, 0..) |vector, i| {
                out[4 * lanes * i ..][0 .. 4 * lanes].* = @bitCast(vector);
            }
        }

        /// Adds `size` bytes of the key stream to a text.
        pub inline fn xor(text: *[size]u8, input: *const Input, counter: u32) void {
            const vectors = stream(input, counter);
            inline for (vectors, 0..) |vector, i| {
                const part = text[4 * lanes * i ..][0 .. 4 * lanes];
                const old: Vector = @bitCast(part.*);
                part.* = @bitCast(old ^ vector);
            }
        }
    };
}

//! ChaCha20-Poly1305 (RFC 8439 section 2.8), a packet a call.

const std = @import("std");
const wipe = @import("wipe.zig").wipe;
const Poly1305 = @import("poly1305.zig").Poly1305;

pub fn ChaCha20Poly1305(comptime lanes: comptime_int) type {
    return struct {
        const ChaCha20 = @import("chacha20.zig").ChaCha20(lanes);
        const block = 64;

        /// The key stream's first blocks: the first gives Poly1305's key, the others are for the text.
        const Begin = [ChaCha20.size]u8;
        const first_text = ChaCha20.size - block;

        inline fn applyStream(begin: *const Begin, input: *const ChaCha20.Input, text: []u8) void {
            const first = @min(text.len, first_text);
            xorBytes(text[0..first], begin[block..]);
            var at: usize = first;
            var counter: u32 = ChaCha20.blocks;
            while (text.len - at >= ChaCha20.size) : (at += ChaCha20.size) {
                ChaCha20.xor(text[at..][0..ChaCha20.size], input, counter);
                counter +%= ChaCha20.blocks;
            }
            if (at == text.len) return;
            var last: [ChaCha20.size]u8 = undefined;
            defer wipe([ChaCha20.size]u8, &last);
            ChaCha20.write(&last, input, counter);
            xorBytes(text[at..], &last);
        }

        inline fn xorBytes(text: []u8, stream: []const u8) void {
            for (text, stream[0..text.len]) |*byte, add| byte.* ^= add;
        }

        inline fn makeTag(begin: *const Begin, associated: []const u8, text: []const u8, tag: *[16]u8) void {
            var poly = Poly1305.init(begin[0..32], @max(associated.len, text.len));
            poly.addPadded(associated);
            poly.addPadded(text);
            var lengths: [16]u8 = undefined;
            std.mem.writeInt(u64, lengths[0..8], associated.len, .little);
            std.mem.writeInt(u64, lengths[8..16], text.len, .little);
            poly.addBlocks(&lengths);
            poly.final(tag);
            wipe(Poly1305, &poly);
        }

        pub fn seal(key: *const [32]u8, nonce: *const [12]u8, associated: []const u8, text: []u8, tag: *[16]u8) void {
            var input = ChaCha20.Input.init(key, nonce);
            var begin: Begin align(64) = undefined;
            ChaCha20.write(&begin, &input, 0);
            applyStream(&begin, &input, text);
            makeTag(&begin, associated, text, tag);
            wipe(Begin, &begin);
            wipe(ChaCha20.Input, &input);
        }

        /// Leaves the text as it is unless the tag is right.
        pub fn open(key: *const [32]u8, nonce: *const [12]u8, associated: []const u8, text: []u8, tag: *const [16]u8) bool {
            var input = ChaCha20.Input.init(key, nonce);
            var begin: Begin align(64) = undefined;
            ChaCha20.write(&begin, &input, 0);
            var expected: [16]u8 = undefined;
            makeTag(&begin, associated, text, &expected);
            const same = std.crypto.timing_safe.eql([16]u8, expected, tag.*);
            if (same) applyStream(&begin, &input, text);
            wipe(Begin, &begin);
            wipe(ChaCha20.Input, &input);
            wipe([16]u8, &expected);
            return same;
        }
    };
}

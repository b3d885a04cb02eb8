const std = @import("std");

/// Clears a secret; the compiler can't leave it out, since it has to think that the bytes are read.
pub inline fn wipe(comptime T: type, secret: *T) void {
    @memset(std.mem.asBytes(secret), 0);
    asm volatile (""
        :
        : [secret] "r" (secret),
        : "memory"
    );
}

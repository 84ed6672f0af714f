// In AssemblyScript a 32-bit integer; run as TypeScript, a number that stays within 32 bits.
type i32 = number

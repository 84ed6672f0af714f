import java.io.*;
import java.nio.file.*;
import java.security.MessageDigest;
import java.util.HexFormat;

class Md5 {
	public static void main(String[] args) throws Exception {
		byte[] data = Files.readAllBytes(Path.of(args[0]));
		System.out.println("ready");
		BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
		while (in.readLine() != null)
			System.out.println(HexFormat.of().formatHex(MessageDigest.getInstance("MD5").digest(data)));
	}
}

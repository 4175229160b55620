// One image with openai-node: prints whether it came, after so many tries of the program itself.
import { createRequire } from "node:module";

const OpenAI = createRequire(`${process.env.PACKAGES}/package.json`)("openai");

const client = new OpenAI({ baseURL: process.env.BASE_URL, apiKey: process.env.API_KEY });
const key = process.env.IDEMPOTENCY_KEY;
const options = key ? { headers: { "Idempotency-Key": key } } : {};
let image = false;
for (let tries = 0; tries < Number(process.env.TRIES) && !image; tries += 1) {
  try {
    const result = await client.images.generate(
      { model: "flux-1-schnell", prompt: "a red fox", size: "512x512" },
      options,
    );
    image = Buffer.from(result.data[0].b64_json, "base64").subarray(1, 4).toString() === "PNG";
  } catch (error) {
    console.error(error.constructor.name, error.message);
  }
}
console.log(JSON.stringify({ image }));

// openai-node: `client.images.generate`, as its README has it.
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.env.BASE_URL, apiKey: process.env.API_KEY });
const answer = await client.images.generate({
  model: "flux-1-schnell",
  prompt: "a red fox",
  size: "512x512",
  response_format: "b64_json",
});
const png = Buffer.from(answer.data[0].b64_json, "base64");
console.log(JSON.stringify({ png: png.subarray(0, 8).toString("hex") }));

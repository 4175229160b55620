// LangChain for JavaScript: its tool for DALL-E, which asks for a link by itself.
import { DallEAPIWrapper } from "@langchain/openai";

const tool = new DallEAPIWrapper({
  model: "flux-1-schnell",
  apiKey: process.env.API_KEY,
  baseUrl: process.env.BASE_URL,
});
console.log(JSON.stringify({ url: await tool.invoke("a red fox") }));
